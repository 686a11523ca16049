"""Frames and Sound stages: extract frames and sound from videos and store them as the payload of a pool of clips."""

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
from curate.videos.local import local_file, media_child

#: Frames in one request to the child, about (clips are not divided). They are in memory twice.
_BATCH = 256

#: Columns of schema.FETCHED that only fetching from the web adds.
_WEB_ONLY = ("fetch", "http_status", "final_url", "fetched_at")


@dataclass
class Frames(Stage):
    """Extracts each live frame from its video and stores it as a JPEG: adds the columns of a fetched picture, and `frame_change`.

    The outcome is a column named like the stage: ok, missing (the picture begins later, or the file is truncated before), broken, timeout, memory or crash; the drop reason
    is `frames:` and the outcome. `frame_change` is the mean absolute difference of grey values to the previous frame of the clip, 0 (the
    same) to 1; null for a clip's first.

    side: pixels to which the shorter side is reduced, 0 keeps the size. quality: of the JPEG. Frames are rotated as the file says; high
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
            **{n: t for n, t in schema.FETCHED.items() if n not in _WEB_ONLY},
        }

    def judge(self, columns: pa.Table) -> pa.Array:
        return drop_reasons(columns[self.name], self.name)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        columns: dict[str, list] = {n: [None] * len(live) for n in self.adds()}
        with media_child() as ask:
            for video, clips in rows_by_video(live):
                with local_file_or_none(video) as path:
                    for batch in batched_clips(clips.values()):
                        self._extract(ask, path, batch, columns, parcel)
        return pa.table({n: pa.array(columns[n], t) for n, t in self.adds().items()})

    def _extract(
        self, ask: Contained, path: str | None, clips: list[list[dict]], columns: dict[str, list], parcel: Parcel
    ) -> None:
        """Extract the frames of some clips of one video. If that fails, each clip is tried alone."""
        found = ask_child(ask, "frames", path, [[r["at"] for r in rows] for rows in clips], self.side, self.quality)
        if found["outcome"] and len(clips) > 1:
            for rows in clips:
                self._extract(ask, path, [rows], columns, parcel)
            return
        rows = [r for clip in clips for r in clip]
        for row, frame in zip(rows, found.get("frames") or [None] * len(rows)):
            columns[self.name][row["row"]] = found["outcome"] or ("ok" if frame else "missing")
            if frame:
                self._store(row, frame, columns, parcel)

    def _store(self, row: dict[str, Any], frame: tuple, columns: dict[str, list], parcel: Parcel) -> None:
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
    """Extracts each live clip's sound from its video and stores it as WAV: 16 bits, one channel, as long as the clip, with silence where
    the video has none. The sample gets `<key>.wav`.

    The outcome is a column named like the stage: ok, none (the clip has no sound), broken, timeout, memory or crash; a clip without
    sound is dropped, for `sound:` and the outcome, if it is `needed`. Also adds `sound_seconds`; `sound_level`, RMS in dB below full
    scale, -120 for silence; and `sound_sha256` of the file.

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
        return drop_reasons(columns[self.name], self.name) if self.needed else super().judge(columns)

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        columns: dict[str, list] = {n: [None] * len(live) for n in self.adds()}
        with media_child() as ask:
            for video, clips in rows_by_video(live):
                with local_file_or_none(video) as path:
                    for rows in clips.values():
                        for row in rows:
                            found = ask_child(ask, "sound", path, row["start"], row["end"], self.rate)
                            self._store(found, row, columns, parcel)
        return pa.table({n: pa.array(columns[n], t) for n, t in self.adds().items()})

    def _store(self, found: dict[str, Any], row: dict[str, Any], columns: dict[str, list], parcel: Parcel) -> None:
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


def drop_reasons(outcome: pa.ChunkedArray, name: str) -> pa.Array:
    """`<stage>:<outcome>` where the outcome is not ok, else null."""
    return pa.array([None if word == "ok" else f"{name}:{word}" for word in outcome.to_pylist()], pa.large_string())


def batched_clips(clips: Iterable[list[dict[str, Any]]]) -> Iterator[list[list[dict[str, Any]]]]:
    """Batches of clips of about _BATCH frames, in order of their beginnings, so that neighbours are decoded in one pass."""
    batch: list[list[dict[str, Any]]] = []
    for rows in sorted(clips, key=lambda rows: (rows[0]["at"], rows[0]["uid"])):
        if batch and sum(map(len, batch)) + len(rows) > _BATCH:
            yield batch
            batch = []
        batch.append(rows)
    if batch:
        yield batch


def rows_by_video(live: pa.Table) -> Iterator[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """Each video with its rows by clip, those of a clip sorted by time. `row` is the index in `live`."""
    videos: dict[str, dict[str, list]] = {}
    for at, row in enumerate(live.to_pylist()):
        videos.setdefault(row["video"], {}).setdefault(row.get("doc_uid") or row["uid"], []).append({**row, "row": at})
    for video, clips in videos.items():
        for rows in clips.values():
            rows.sort(key=lambda r: r.get("position", 0))
        yield video, clips


@contextlib.contextmanager
def local_file_or_none(video: str) -> Iterator[str | None]:
    """A video's path on this machine (see local_file); None if there is no such file. RecipeError if it is refused."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(local_file(video))
        except (OSError, ValueError):
            path = None
        yield path


def ask_child(ask: Contained, task: str, path: str | None, *arguments: Any) -> dict[str, Any]:
    """The child's result of a task (media.run_task), or the outcome if the child died of it or there is no file."""
    if path is None:
        return {"outcome": "missing"}
    try:
        return ask(task, path, *arguments)
    except Died as e:
        return {"outcome": e.word}
