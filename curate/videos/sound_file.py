"""SoundFile stage: reads sound files, stores them as the payload of a pool of sounds, and measures them."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.models.contained import Contained, Died
from curate.stage import Stage
from curate.store.payload import Parcel
from curate.videos.frames import drop_reasons, local_file_or_none

#: File name suffix of a sample's sound, by libsndfile's name of the format.
FORMATS = {"FLAC": "flac", "MP3": "mp3", "OGG": "ogg", "WAV": "wav", "WAVEX": "wav"}
#: CPU seconds for one file, and bytes of the child's address space.
SECONDS, MEMORY = 300.0, 4 << 30
#: Samples of a channel that are decoded at a time.
_BLOCK = 1 << 16


@dataclass
class SoundFile(Stage):
    """Stores the file of each live sound unchanged: FLAC, MP3, Ogg or WAV, identified by its bytes, and decoded completely by libsndfile
    in a child process. The sample gets `<key>.flac`, `.mp3`, `.ogg` or `.wav`.

    The outcome is a column named like the stage: ok, missing, refused (on the web: FetchSound downloads it), format (none of these), broken, empty,
    too_long, too_large, timeout, memory or crash; the drop reason is `sound_file:` and the outcome. Also adds `sound_format`; `sound_seconds`;
    `sound_rate`, samples a second; `sound_channels`; `sound_level`, RMS in dB below full scale, -120 for silence; and `sound_sha256`.

    max_seconds: of one sound. max_bytes: of one file. Decoded by libsndfile (https://libsndfile.github.io/libsndfile/).
    """

    table = "documents"
    writes_payload = True
    reads = ("audio",)

    max_seconds: float = 3600.0
    max_bytes: int = 256 << 20

    def adds(self) -> dict[str, pa.DataType]:
        return {
            self.name: schema.STR,
            "sound_format": schema.STR,
            "sound_seconds": pa.float32(),
            "sound_rate": pa.int32(),
            "sound_channels": pa.int16(),
            "sound_level": pa.float32(),
            "sound_sha256": schema.STR,
            **schema.PAYLOAD,
        }

    def judge(self, columns: pa.Table) -> pa.Array:
        return drop_reasons(columns[self.name], self.name)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        with measuring() as ask:
            named = zip(live["audio"].to_pylist(), live["uid"].to_pylist())
            return self.table_of([self.store(ask, audio or "", uid, parcel) for audio, uid in named])

    def table_of(self, found: list[dict[str, Any]]) -> pa.Table:
        """The columns of the stage, of the outcome and the values of each row."""
        outcomes = {self.name: [f.get("outcome") or "ok" for f in found]}
        return pa.table({n: pa.array(outcomes.get(n) or [f.get(n) for f in found], t) for n, t in self.adds().items()})

    def store(self, ask: Contained, audio: str, uid: str, parcel: Parcel) -> dict[str, Any]:
        """Add a file to the parcel if it is valid; returns the outcome and its values."""
        try:
            with local_file_or_none(audio) as path:
                return self.store_local(ask, path, uid, parcel) if path else {"outcome": "missing"}
        except RecipeError:
            return {"outcome": "refused"}

    def store_local(self, ask: Contained, path: str, uid: str, parcel: Parcel) -> dict[str, Any]:
        """The same of a file of this machine."""
        if os.path.getsize(path) > self.max_bytes:
            return {"outcome": "too_large"}
        try:
            found = ask(path, self.max_seconds)
        except Died as e:
            return {"outcome": e.word}
        if found["outcome"]:
            return found
        data = Path(path).read_bytes()
        place = {"payload_size": len(data), "payload_offset": parcel.add(f"{uid}.{found['sound_format']}", data)}
        return {**found, **place, "sound_sha256": hashlib.sha256(data).hexdigest()}


def measuring() -> Contained:
    """The child process that decodes sound files (measure)."""
    return Contained("curate.videos.sound_file:measure", SECONDS, MEMORY, imports=("soundfile",))


def measure(path: str, max_seconds: float) -> dict[str, Any]:
    """The properties of a sound file: plain values, with an `outcome` (None if it is valid). Runs in the child process."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.format not in FORMATS:
                return {"outcome": "format"}
            return _measure_decoded(file, max_seconds)
    except (soundfile.LibsndfileError, OSError, ValueError, RuntimeError):
        return {"outcome": "broken"}


def _measure_decoded(file: Any, max_seconds: float) -> dict[str, Any]:
    """The properties of an open sound file, which is decoded completely."""
    samples, energy = 0, 0.0
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        samples += len(block)
        energy += float((block.mean(axis=1, dtype=np.float64) ** 2).sum())
        if samples > max_seconds * file.samplerate:
            return {"outcome": "too_long"}
    if not samples or not np.isfinite(energy):
        return {"outcome": "broken" if samples else "empty"}
    level = 10 * np.log10(max(energy / samples, 1e-12))
    return {
        "outcome": None,
        "sound_format": FORMATS[file.format],
        "sound_seconds": samples / file.samplerate,
        "sound_rate": file.samplerate,
        "sound_channels": file.channels,
        "sound_level": round(float(level), 2),
    }
