"""Stages that take frames and sound out of videos and park them: the rows of a pool of clips get their bytes."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate import schema
from curate.models.contained import Contained, Died
from curate.stage import Stage
from curate.store.payload import Parcel
from curate.videos.local import child, local

#: Frames asked for at a time, about: whole clips. What they hold is in memory twice.
_MANY = 256

_HERE = ("fetch", "http_status", "final_url", "fetched_at")  # of schema.FETCHED, what only the web has


@dataclass
class Frames(Stage):
    """Takes each live frame out of its video and parks it as a JPEG: columns of a fetched picture, and `frame_change`.

    The outcome is a column like the stage: ok, missing (the picture begins later, or the file was cut off before), broken, timeout, memory or crash; the drop reason
    is `frames:` and the outcome. frame_change: the mean absolute difference of grey to the frame before it in the clip, 0 (the
    same) to 1; null for a clip's first.

    side: pixels that the shorter side is brought down to, 0 keeps the size. quality: of the JPEG. Turned as the file says; high
    dynamic range (PQ, HLG) is tone-mapped.

    Recipes take the frame rates of VideoBERT (1904.01766) and VATT (2104.11178).
    """

    version = 2
    writes_payload = True
    reads = ("video", "at", "doc_uid", "position")

    side: int = 0
    quality: int = 95

    def adds(self) -> dict[str, pa.DataType]:
        return {
            self.name: schema.STR,
            "frame_change": pa.float32(),
            **{n: t for n, t in schema.FETCHED.items() if n not in _HERE},
        }

    def judge(self, columns: pa.Table) -> pa.Array:
        return outcomes(columns[self.name], self.name)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        columns: dict[str, list] = {n: [None] * len(live) for n in self.adds()}
        with child() as ask:
            for video, clips in grouped(live):
                with opened(video) as path:
                    for some in bundled(clips.values()):
                        self._clips(ask, path, some, columns, parcel)
        return pa.table({n: pa.array(columns[n], t) for n, t in self.adds().items()})

    def _clips(
        self, ask: Contained, path: str | None, clips: list[list[dict]], columns: dict[str, list], parcel: Parcel
    ) -> None:
        """The frames of some clips of one video. Where they cannot be had, each clip is asked for alone."""
        found = questioned(ask, "frames", path, [[r["at"] for r in rows] for rows in clips], self.side, self.quality)
        if found["outcome"] and len(clips) > 1:
            for rows in clips:
                self._clips(ask, path, [rows], columns, parcel)
            return
        rows = [r for clip in clips for r in clip]
        for row, frame in zip(rows, found.get("frames") or [None] * len(rows)):
            columns[self.name][row["row"]] = found["outcome"] or ("ok" if frame else "missing")
            if frame:
                self._keep(row, frame, columns, parcel)

    def _keep(self, row: dict[str, Any], frame: tuple, columns: dict[str, list], parcel: Parcel) -> None:
        data, width, height, original_width, original_height, change = frame
        values = {
            "frame_change": change,
            "sha256": hashlib.sha256(data).hexdigest(),
            "mime": "image/jpeg",
            "width": width,
            "height": height,
            "original_width": original_width,
            "original_height": original_height,
            "payload_size": len(data),
            "payload_offset": parcel.add(f"{row['uid']}.jpg", data),
        }
        for name, value in values.items():
            columns[name][row["row"]] = value


@dataclass
class Sound(Stage):
    """Takes each live clip's sound out of its video and parks it as WAV: 16 bits, one channel, as long as the clip, with silence where
    the film has none. The sample gets `<key>.wav`.

    The outcome is a column like the stage: ok, none (the clip has no sound), broken, timeout, memory or crash; a clip without
    sound is dropped, for `sound:` and the outcome, if it is `needed`. `sound_seconds`; `sound_level`: RMS in dB below full scale,
    -120 where all is still; `sound_sha256` of the file.

    rate: samples a second. Speech models take 16,000; VATT took 48,000.

    needed: whether a clip without sound is dropped.
    """

    table = "documents"
    version = 2
    writes_payload = True
    reads = ("video", "start", "end")
    untracked = ("needed",)

    rate: int = 16_000
    needed: bool = False

    def adds(self) -> dict[str, pa.DataType]:
        return {
            self.name: schema.STR,
            "sound_seconds": pa.float32(),
            "sound_level": pa.float32(),
            "sound_sha256": schema.STR,
            **schema.PAYLOAD,
        }

    def judge(self, columns: pa.Table) -> pa.Array:
        return outcomes(columns[self.name], self.name) if self.needed else super().judge(columns)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        columns: dict[str, list] = {n: [None] * len(live) for n in self.adds()}
        with child() as ask:
            for video, clips in grouped(live):
                with opened(video) as path:
                    for rows in clips.values():
                        for row in rows:
                            self._clip(
                                questioned(ask, "sound", path, row["start"], row["end"], self.rate), row, columns, parcel
                            )
        return pa.table({n: pa.array(columns[n], t) for n, t in self.adds().items()})

    def _clip(self, found: dict[str, Any], row: dict[str, Any], columns: dict[str, list], parcel: Parcel) -> None:
        data, at = found.get("wav"), row["row"]
        columns[self.name][at] = found["outcome"] or ("ok" if data else "none")
        if data and not found["outcome"]:
            values = {
                "sound_seconds": found["seconds"],
                "sound_level": found["level"],
                "sound_sha256": hashlib.sha256(data).hexdigest(),
                "payload_size": len(data),
                "payload_offset": parcel.add(f"{row['uid']}.wav", data),
            }
            for name, value in values.items():
                columns[name][at] = value


def outcomes(outcome: pa.ChunkedArray, name: str) -> pa.Array:
    """The stage's name and the outcome, where that is not ok."""
    return pa.array([None if word == "ok" else f"{name}:{word}" for word in outcome.to_pylist()], pa.large_string())


def bundled(clips: Iterable[list[dict[str, Any]]]) -> Iterator[list[list[dict[str, Any]]]]:
    """Clips by their beginning, some at a time: neighbours are decoded in one go."""
    some: list[list[dict[str, Any]]] = []
    for rows in sorted(clips, key=lambda rows: (rows[0]["at"], rows[0]["uid"])):
        if some and sum(map(len, some)) + len(rows) > _MANY:
            yield some
            some = []
        some.append(rows)
    if some:
        yield some


def grouped(live: pa.Table) -> Iterator[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """Rows by video and clip, those of a clip by time."""
    videos: dict[str, dict[str, list]] = {}
    for at, row in enumerate(live.to_pylist()):
        videos.setdefault(row["video"], {}).setdefault(row.get("doc_uid") or row["uid"], []).append({**row, "row": at})
    for video, clips in videos.items():
        for rows in clips.values():
            rows.sort(key=lambda r: r.get("position", 0))
        yield video, clips


@contextlib.contextmanager
def opened(video: str) -> Iterator[str | None]:
    """A video's path on this machine; None where it is gone. RecipeError if it is refused."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(local(video))
        except (OSError, ValueError):
            path = None
        yield path


def questioned(ask: Contained, what: str, path: str | None, *about: Any) -> dict[str, Any]:
    """What the child answers, or the outcome of one that died over it."""
    if path is None:
        return {"outcome": "missing"}
    try:
        return ask(what, path, *about)
    except Died as e:
        return {"outcome": e.word}
