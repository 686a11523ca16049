"""Source Videos: videos with their transcripts. A clip is a document, its frames are images, its speech segments are texts.

So all rules for paragraphs, images and documents apply to clips too, and a sample is `<key>.json` with frames and speech in order
of time, `<key>.0.jpg`, `<key>.1.jpg` … , `<key>.txt` with the speech, and `<key>.wav` if Sound extracted it. The source lists the
frames; the stage Frames extracts them, after the filters that need no pixels.
"""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.models.contained import Contained
from curate.schema import STR
from curate.source import Source, expand
from curate.sources.columns import pick
from curate.sources.formats import ENDINGS, tables
from curate.sources.url_pairs import folders_opened, naming
from curate.videos import speech
from curate.videos.cut import Clip, frame_times, segments_within, split_at_cuts, split_by_speech, split_evenly
from curate.videos.frames import ask_child, local_file_or_none
from curate.videos.local import media_child, refuse_web

#: Endings of video files; the real format is determined by their bytes.
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".ogv", ".wmv")
CUTS = ("speech", "scenes", "even", "whole")

_DOCUMENT = {
    **schema.DOCUMENTS,  # url: the video's path and the span, as a media fragment (#t=12.5,20)
    "video": STR,
    "start": pa.float64(),  # seconds
    "end": pa.float64(),
    "video_seconds": pa.float64(),
    "video_width": pa.int32(),  # as shown: of a turned film the sides are turned
    "video_height": pa.int32(),
    "fps": pa.float32(),
    "has_sound": pa.bool_(),
}
_TEXT = {**schema.TEXTS, "kind": STR, "start": pa.float64(), "end": pa.float64()}
_IMAGE = {
    **schema.IMAGES,  # url: the video's path and the moment (#t=12.5); text: what is said at that moment
    "doc_uid": STR,
    "position": pa.int32(),
    "video": STR,
    "at": pa.float64(),  # seconds
}
_COLUMNS = {"documents": _DOCUMENT, "texts": _TEXT, "images": _IMAGE}


@dataclass
class Videos(Source):
    """Clips of video files (on disks, or in the object stores of videos/local.py), or of tables of clips.

    The transcript is beside the video: `talk.vtt`, `.srt` or `.json` (Whisper's) for `talk.mp4`. A table (Parquet, CSV, TSV, JSON lines)
    has columns `video` (a path, relative to the table), `start` and `end` in seconds, and `text`; each row is a clip. Its videos
    must lie in the table's folder or in one of `roots`.

    cut: how a video is divided, if not by a table. `speech`: consecutive segments joined until a clip has min_seconds, but not over a
        silence of `gap`; `scenes`: where the picture changes by more than `scene_change` (PySceneDetect's content value, 27);
        `even`: every max_seconds; `whole`: not at all. A clip is never longer than max_seconds.
    frames: number of frames of a clip, at the middles of equal parts; or `rate` a second; at most max_frames.
    max_video: seconds; a longer video is dropped.
    roots: folders, or URLs of them, in which the videos of tables may lie besides the table's own folder.
    seconds, memory: limits of CPU time and address space for one task on a video.

    Invalid rows are kept with a `drop_reason`: `video:refused` (a table names a path outside the allowed folders, or not on a
    disk or a supported object store), `video:missing` (no such file), `video:broken`, `video:no_picture`, `video:no_duration`,
    `video:too_many_pixels`, `video:too_long`, `video:no_speech`, `video:timeout`, `video:memory`, `video:crash`,
    `clip:bad_times`, `clip:beyond_the_end`.
    """

    tables: ClassVar[tuple[str, ...]] = ("documents", "texts", "images")
    version: ClassVar[int] = 4

    paths: str | list[str]
    cut: str = "speech"
    min_seconds: float = 0.0
    max_seconds: float = 60.0
    gap: float = 1.0
    scene_change: float = 27.0
    frames: int = 8
    rate: float = 0.0
    max_frames: int = 256
    max_video: float = 4 * 3600
    seconds: float = 600.0
    memory: int = 4 << 30
    roots: tuple[str, ...] = ()

    def __post_init__(self):
        if self.cut not in CUTS:
            raise RecipeError(f"videos are cut by {', '.join(CUTS)}, not by {self.cut!r}")
        if self.max_seconds <= 0 or self.min_seconds > self.max_seconds:
            raise RecipeError(
                f"clips of {self.min_seconds:g} to {self.max_seconds:g} seconds: the first must not be more than the second"
            )
        for path in [self.paths] if isinstance(self.paths, str) else self.paths:
            refuse_web(path)

    def files(self) -> list[str]:
        if importlib.util.find_spec("av") is None:
            raise RecipeError("videos need the package av: pip install 'curate-multimodal[video]'")
        return expand(folders_opened(self.paths, VIDEOS))

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        return _COLUMNS[table]

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        rows = Rows(file)
        with media_child(self.seconds, self.memory) as ask:
            for video, found, clips in (
                self._listed(ask, file) if file.lower().endswith(tuple(ENDINGS)) else [self._video(ask, file)]
            ):
                for clip in clips:
                    rows.add(video, found, clip, self._frame_times(clip))
                    if rows.full(part_size):
                        yield rows.tables()
                        rows = rows.next()
        if rows.documents:
            yield rows.tables()

    def _frame_times(self, clip: Clip) -> list[float]:
        return [] if clip.reason else frame_times(clip.start, clip.end, self.frames, self.rate, self.max_frames)

    def _video(self, ask: Contained, video: str) -> tuple[str, dict[str, Any], list[Clip]]:
        """A video, its properties, and its clips."""
        with local_file_or_none(video) as path:
            found = ask_child(ask, "probe", path)
            if found["outcome"] or found["seconds"] > self.max_video:
                return video, found, [Clip(0.0, 0.0, reason=f"video:{found['outcome'] or 'too_long'}")]
            transcript = speech.transcript_path(video)
            segments = speech.read_transcript(transcript) if transcript else []
            if self.cut == "speech":
                clips = split_by_speech(segments, found["seconds"], self.min_seconds, self.max_seconds, self.gap)
                return video, found, clips or [Clip(0.0, found["seconds"], reason="video:no_speech")]
            if self.cut == "scenes":
                cuts = ask_child(ask, "scenes", path, self.scene_change)
                if cuts["outcome"]:
                    return video, found, [Clip(0.0, found["seconds"], reason=f"video:{cuts['outcome']}")]
                return video, found, split_at_cuts(cuts["cuts"], found["seconds"], segments, self.min_seconds, self.max_seconds)
        if self.cut == "even":
            return video, found, split_evenly(self.max_seconds, found["seconds"], segments)
        end = min(found["seconds"], self.max_seconds)
        return video, found, [Clip(0.0, end, segments_within(segments, 0.0, end))]

    def _probed(self, ask: Contained, video: str) -> dict[str, Any]:
        """The properties of a video of a table. A refused video drops only its own rows, since the table is untrusted."""
        try:
            with local_file_or_none(video) as path:
                return ask_child(ask, "probe", path)
        except RecipeError:
            return {"outcome": "refused"}

    def _listed(self, ask: Contained, file: str) -> Iterator[tuple[str, dict[str, Any], list[Clip]]]:
        """The clips of a table, row by row; a video is probed once for consecutive rows."""
        with naming(file, 0):
            stream = tables(file)
            names = next(stream)[0].column_names
        columns = {role: pick(role, names, file, role) for role in ("video", "start", "end", "text")}
        folder, seen, found, done = file.rsplit("/", 1)[0] if "/" in file else ".", None, {}, 0
        while True:
            with naming(file, done):
                table, _ = next(stream, (None, None))
            if table is None:
                return
            for row in table.select(list(columns.values())).rename_columns(list(columns)).to_pylist():
                video = listed_path(folder, str(row["video"] or "-"))
                if video != seen:
                    allowed = is_within(video, (folder, *self.roots))
                    seen, found = video, self._probed(ask, video) if allowed else {"outcome": "refused"}
                yield video, found, [_clip(row, found, self.max_seconds)]
            done += len(table)


def clips(source: Source, **how: Any) -> Videos:
    """The source of videos with other parameters; RecipeError if it is another source."""
    if not isinstance(source, Videos):
        raise RecipeError("this recipe cuts videos: say where they are with --videos")
    return replace(source, **how)


def _clip(row: dict[str, Any], found: dict[str, Any], longest: float) -> Clip:
    try:
        start, end = float(row["start"]), float(row["end"])
    except (TypeError, ValueError):
        return Clip(0.0, 0.0, reason="clip:bad_times")
    segments = [speech.SpeechSegment(start, end, str(row["text"]).strip())] if str(row["text"] or "").strip() else []
    if found["outcome"]:
        return Clip(start, end, segments, f"video:{found['outcome']}")
    if not 0 <= start < end:
        return Clip(start, end, segments, "clip:bad_times")
    if start >= found["seconds"]:
        return Clip(start, end, segments, "clip:beyond_the_end")
    return Clip(start, min(end, found["seconds"], start + longest), segments)


def moment(time: float) -> str:
    """A time in seconds as text for a URL: six significant digits, from 1,000 s on milliseconds."""
    return f"{time:g}" if time < 1000 else f"{time:.3f}".rstrip("0").rstrip(".")


def listed_path(folder: str, name: str) -> str:
    """The path of a file that a list in `folder` names: relative to the folder, absolute, or a URL."""
    return name if "://" in name or name.startswith("/") else f"{folder}/{name}"


def is_within(path: str, folders: Iterable[str]) -> bool:
    """Whether a path or URL lies in one of these folders, symbolic links resolved. Lists are untrusted: one must not bring other files
    of this machine into a data set."""
    if "://" in path:
        return ".." not in path.split("/") and any(path.startswith(f"{f.rstrip('/')}/") for f in folders)
    if "\0" in path:
        return True  # names no file
    real = os.path.realpath(path)
    return any(real.startswith(f"{os.path.realpath(f).rstrip('/')}/") for f in folders if "://" not in f)


class Rows:
    """Collects the rows of a part, by table."""

    def __init__(self, file: str, clip: int = 0):
        self.file, self.clip = file, clip
        self.documents: list[dict] = []
        self.texts: list[dict] = []
        self.images: list[dict] = []

    def next(self) -> "Rows":
        return Rows(self.file, self.clip)

    def full(self, part_size: int) -> bool:
        return max(len(self.images), len(self.documents), len(self.texts) // 4) >= part_size

    def add(self, video: str, found: dict[str, Any], clip: Clip, times: list[float]) -> None:
        """Add a clip; its frames and speech segments share positions, in order of time."""
        url = f"{video}#t={moment(clip.start)},{moment(clip.end)}"
        uid = schema.uid(" ".join(s.text for s in clip.segments), url)
        own = {"source_file": self.file, "source_row": self.clip}
        self.documents.append(
            {
                "uid": uid,
                **own,
                "url": url,
                "title": found.get("title"),
                "video": video,
                "start": clip.start,
                "end": clip.end,
                "video_seconds": found.get("seconds"),
                "video_width": found.get("width"),
                "video_height": found.get("height"),
                "fps": found.get("fps"),
                "has_sound": found.get("sound"),
                "drop_reason": clip.reason,
            }
        )
        order = sorted([(s.start, 1, s) for s in clip.segments] + [(t, 0, t) for t in times], key=lambda o: o[:2])
        for position, (time, spoken, what) in enumerate(order):
            child_ = {**own, "uid": schema.uid(uid, str(position)), "doc_uid": uid, "position": position, "drop_reason": None}
            if spoken:
                self.texts.append({**child_, "text": what.text, "kind": "speech", "start": what.start, "end": what.end})
            else:
                self.images.append(
                    {
                        **child_,
                        "url": f"{video}#t={moment(time)}",
                        "text": heard(clip.segments, time),
                        "video": video,
                        "at": time,
                    }
                )
        self.clip += 1

    def tables(self) -> dict[str, pa.Table]:
        return {n: pa.Table.from_pylist(getattr(self, n), schema.arrow({**_COLUMNS[n], "drop_reason": STR})) for n in _COLUMNS}


def heard(segments: list[speech.SpeechSegment], time: float) -> str | None:
    """The text spoken at a time, or nearest to it."""
    if not segments:
        return None
    return min(segments, key=lambda s: (max(s.start - time, time - s.end, 0.0), s.start)).text
