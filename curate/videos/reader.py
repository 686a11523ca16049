"""Reader of a video file through PyAV: frames from a given time on, with times that start at 0 in every container."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Any

#: Containers that contain their own streams and do not refer to other files.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
#: Tolerance of times in seconds: containers round them, to a millisecond at the coarsest.
ROUNDED = 0.002
#: Seconds up to which the reader decodes forward instead of seeking.
AHEAD = 4.0
#: Seconds before the wanted time to which seeks go, in turn: indexes are in decoding order, and some containers have none. After
#: the last the file is read from its beginning.
_SEEK_BACK = (0.0, 2.0, 10.0, 60.0)
#: A file is truncated if it ends at least so many seconds before the end that its header declares.
_TRUNCATED = 1.0
#: The first frame may begin so many seconds after the sound, because of encoder delays.
_MAX_DELAY = 0.2
#: MPEG program streams do not time every frame: for so many seconds after a seek times may be estimates.
_ESTIMATED = 1.0
#: Consecutive read errors after which the rest of a file is given up.
_MAX_ERRORS = 50

_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class VideoReader:
    """An open video file. Raises PyAV's errors, or OSError, if it is not a video.

    Nothing that the file refers to is opened: formats that name other files or addresses (playlists, concat lists, DASH) are not
    allowed, nor any protocol but plain files. Decoding uses one thread, so that the pixels are the same on every machine with the
    same libraries.
    """

    def __init__(self, path: str):
        self.file = open(path, "rb")
        self.container: Any = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self.start = _start(self.container, self.picture)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.container is not None:
            self.container.close()
        self.file.close()

    def _open(self) -> None:
        import av

        if self.container is not None:
            self.container.close()
        self.file.seek(0)
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        self.container = av.open(self.file, options=options, metadata_errors="replace")
        self.at_beginning = True
        for stream in self.container.streams:
            if stream.type in ("video", "audio"):
                stream.thread_type = "NONE"
                stream.codec_context.thread_count = 1

    @property
    def picture(self) -> Any | None:
        """The first video stream that is not a cover picture; None if there is none."""
        from av.stream import Disposition

        return next((s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic), None)

    @property
    def sound(self) -> Any | None:
        """The first audio stream; None if there is none."""
        return next(iter(self.container.streams.audio), None)

    @property
    def seconds(self) -> float:
        """Length by the container, or else of the video stream; 0 if neither declares it. Matroska declares the end time instead."""
        if self.container.duration:
            return self.container.duration / 1e6 - (self.start if "matroska" in self.container.format.name else 0.0)
        stream = self.picture
        return float((stream.duration or 0) * (stream.time_base or 0)) if stream else 0.0

    def frames(self, kind: str, time: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Decoded frames of a stream (`picture` or `sound`) with their times in seconds, in order. The first begins at `time` or before
        it, if any does."""
        settled = time - (_ESTIMATED if self.container.format.name == "mpeg" else 0.0)
        for back in _SEEK_BACK:
            if settled - back <= AHEAD:
                break
            try:
                stream = getattr(self, kind)
                self.at_beginning = False
                self.container.seek(int((self.start + settled - back) / stream.time_base), stream=stream, backward=True)
            except OSError:
                break  # the file is not seekable
            frames = self._decode(kind, after_seek=True)
            first = next(frames, None)
            if first is not None and first[0] <= settled + ROUNDED:
                return itertools.chain([first], frames)
        if not self.at_beginning:
            self._open()
        self.at_beginning = False
        return self._decode(kind)

    def packets(self, streams: list[Any], time: float) -> Iterator[tuple[float, Any]]:
        """Packets of streams with their decoding times, from the key frame of the first stream at `time` or before it on."""
        if time > 0:
            with contextlib.suppress(OSError):
                self.container.seek(int((self.start + time) / streams[0].time_base), stream=streams[0], backward=True)
        self.at_beginning = False
        begun = None
        for packet in self.container.demux(streams):
            if packet.dts is None or packet.pts is None:
                continue
            at = float(packet.dts * packet.time_base) - self.start
            if begun is None and packet.stream.index == streams[0].index and packet.is_keyframe:
                begun = at
            if begun is not None and at >= begun:
                yield at, packet

    def _decode(self, kind: str, after_seek: bool = False) -> Iterator[tuple[float, Any]]:
        """Frames with their times from the current position on, after a seek from the first key frame on. Damaged packets are skipped."""
        import av

        for packet in self._packets(getattr(self, kind)):
            frames = []
            with contextlib.suppress(av.error.FFmpegError):
                frames = packet.decode()
            for frame in frames:
                if frame.time is None or (after_seek and kind == "picture" and not frame.key_frame):
                    continue
                after_seek = False
                yield frame.time - self.start, frame

    def _packets(self, stream: Any) -> Iterator[Any]:
        """Packets of a stream; read errors are skipped, up to _MAX_ERRORS in a row."""
        import av

        errors = 0
        while errors < _MAX_ERRORS:
            try:
                for packet in self.container.demux(stream):
                    errors = 0
                    yield packet
                return
            except av.error.FFmpegError:
                errors += 1

    def frames_at(self, times: list[float]) -> Iterator[Any | None]:
        """For each time the frame on the screen: the last one that begins at it or before.

        None before the first frame (which counts from the start if only an encoder delay precedes it), and after the end of a
        truncated file. Seeks backward, and over more than AHEAD forward. ValueError if no frame can be decoded at all.
        """
        frames: Iterator[tuple[float, Any]] | None = None
        current = following = None
        for time in times:
            here = current or following
            backward = current is not None and time < current[0] - ROUNDED
            if frames is None or here is None or backward or time > here[0] + AHEAD:
                frames = self.frames("picture", time)
                current, following = None, next(frames, None)
                if following is None:
                    raise ValueError("no frame can be decoded")
                if time < following[0] <= _MAX_DELAY:
                    current, following = following, next(frames, None)
            while following is not None and following[0] <= time + ROUNDED:
                current, following = following, next(frames, None)
            on_screen = current is not None and (following is not None or time < self._display_end(*current))
            yield current[1] if on_screen else None

    def _display_end(self, time: float, frame: Any) -> float:
        """The time until which the last frame is on the screen: infinity, or its own end in a truncated file."""
        stream = self.picture
        rate = float(stream.average_rate or 0)
        ends = time + max(float((frame.duration or 0) * (frame.time_base or 0)), 1 / rate if rate else 0.0)
        return ends if self._declared_end(stream) > ends + _TRUNCATED else float("inf")

    def _declared_end(self, stream: Any) -> float:
        """The end of a stream that the file declares; Matroska has it in a tag."""
        if stream.duration:
            return float((stream.start_time or 0) * stream.time_base + stream.duration * stream.time_base) - self.start
        found = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
        return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) - self.start if found else self.seconds


def _start(container: Any, picture: Any | None) -> float:
    """The time at which a container begins, in seconds. Below 0 only if the video stream begins there: audio decoders may need earlier
    samples to start."""
    first = (container.start_time or 0) / 1e6
    if first >= 0 or picture is None or picture.start_time is None:
        return max(first, 0.0)
    return min(0.0, float(picture.start_time * picture.time_base))
