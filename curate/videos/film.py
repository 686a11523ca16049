"""A video file whose times count from its start, whatever its container counts from: frames from a time on, after seeks too."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Any

#: Containers that hold their own streams.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
#: Containers round times, to a millisecond at the coarsest.
ROUNDED = 0.002
#: Seconds that are decoded rather than sought.
AHEAD = 4.0
#: Seconds that a seek goes back behind the time wanted: indexes count in decoding order, and some containers have none. After
#: the last the file is read from its beginning.
_BACK = (0.0, 2.0, 10.0, 60.0)
#: Seconds by which a file that was cut ends before what its header says, at least.
_CUT = 1.0
#: The first frame may begin so many seconds behind the start of the sound: encoders of both have delays.
_DELAY = 0.2
#: Program streams do not time every frame: for so many seconds after a seek the times may be estimates.
_ESTIMATED = 1.0
#: Errors of reading in a row after which nothing more is expected of a file.
_ERRORS = 50

_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class Film:
    """An open video. Raises PyAV's errors, or OSError, for what is none.

    The file is opened by its bytes, never by what they point to: formats that name other files or addresses (playlists, concat
    lists, DASH) are not among those allowed, and no protocol but plain files is. One thread decodes, so the pixels are the same on
    every machine with the same libraries.
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

    def __enter__(self) -> "Film":
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
        self.untouched = True
        for stream in self.container.streams:
            if stream.type in ("video", "audio"):
                stream.thread_type = "NONE"
                stream.codec_context.thread_count = 1

    @property
    def picture(self) -> Any | None:
        """The first video stream that is no cover picture."""
        from av.stream import Disposition

        return next((s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic), None)

    @property
    def sound(self) -> Any | None:
        return next(iter(self.container.streams.audio), None)

    @property
    def seconds(self) -> float:
        """Length by the container, or else the picture's; 0 if neither says it. Matroska writes when it ends instead."""
        if self.container.duration:
            return self.container.duration / 1e6 - (self.start if "matroska" in self.container.format.name else 0.0)
        stream = self.picture
        return float((stream.duration or 0) * (stream.time_base or 0)) if stream else 0.0

    def frames(self, kind: str, time: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Decoded frames of `picture` or `sound` with their times, in order. The first begins at `time` or before it, if any does."""
        settled = time - (_ESTIMATED if self.container.format.name == "mpeg" else 0.0)
        for back in _BACK:
            if settled - back <= AHEAD:
                break
            try:
                stream = getattr(self, kind)
                self.untouched = False
                self.container.seek(int((self.start + settled - back) / stream.time_base), stream=stream, backward=True)
            except OSError:
                break  # no way to seek in it
            walk = self._walk(kind, sought=True)
            first = next(walk, None)
            if first is not None and first[0] <= settled + ROUNDED:
                return itertools.chain([first], walk)
        if not self.untouched:
            self._open()
        self.untouched = False
        return self._walk(kind)

    def packets(self, streams: list[Any], time: float) -> Iterator[tuple[float, Any]]:
        """Packets of streams from the key frame of the picture (the first of them) at `time` or before it, each with its time of
        decoding; those of other streams begin there too."""
        if time > 0:
            with contextlib.suppress(OSError):
                self.container.seek(int((self.start + time) / streams[0].time_base), stream=streams[0], backward=True)
        self.untouched = False
        begun = None
        for packet in self.container.demux(streams):
            if packet.dts is None or packet.pts is None:
                continue
            at = float(packet.dts * packet.time_base) - self.start
            if begun is None and packet.stream.index == streams[0].index and packet.is_keyframe:
                begun = at
            if begun is not None and at >= begun:
                yield at, packet

    def _walk(self, kind: str, sought: bool = False) -> Iterator[tuple[float, Any]]:
        """Frames from here on; after a seek from the first one that needs no other. What is damaged is passed over."""
        import av

        for packet in self._packets(getattr(self, kind)):
            frames = []
            with contextlib.suppress(av.error.FFmpegError):
                frames = packet.decode()
            for frame in frames:
                if frame.time is None or (sought and kind == "picture" and not frame.key_frame):
                    continue
                sought = False
                yield frame.time - self.start, frame

    def _packets(self, stream: Any) -> Iterator[Any]:
        import av

        errors = 0
        while errors < _ERRORS:
            try:
                for packet in self.container.demux(stream):
                    errors = 0
                    yield packet
                return
            except av.error.FFmpegError:
                errors += 1

    def shown(self, times: list[float]) -> Iterator[Any | None]:
        """For each time the last frame of the picture that begins at it or before; None before the first one (which is shown from
        the start where only a codec's delay is before it), and where the file was cut off. A way back, and a long way on, is
        sought. ValueError if no frame can be decoded at all."""
        walk: Iterator[tuple[float, Any]] | None = None
        now = ahead = None
        for time in times:
            here = now or ahead
            if walk is None or here is None or (now is not None and time < now[0] - ROUNDED) or time > here[0] + AHEAD:
                walk = self.frames("picture", time)
                now, ahead = None, next(walk, None)
                if ahead is None:
                    raise ValueError("no frame can be decoded")
                if time < ahead[0] <= _DELAY:
                    now, ahead = ahead, next(walk, None)
            while ahead is not None and ahead[0] <= time + ROUNDED:
                now, ahead = ahead, next(walk, None)
            lasts = now is not None and (ahead is not None or time < self._until(*now))
            yield now[1] if lasts else None

    def _until(self, time: float, frame: Any) -> float:
        """How long the last frame is on the screen: for ever, but in a file that was cut off."""
        stream = self.picture
        rate = float(stream.average_rate or 0)
        ends = time + max(float((frame.duration or 0) * (frame.time_base or 0)), 1 / rate if rate else 0.0)
        return ends if self._declared(stream) > ends + _CUT else float("inf")

    def _declared(self, stream: Any) -> float:
        """When a stream ends by the file's own words: Matroska has them in a tag."""
        if stream.duration:
            return float((stream.start_time or 0) * stream.time_base + stream.duration * stream.time_base) - self.start
        found = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
        return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) - self.start if found else self.seconds


def _start(container: Any, picture: Any | None) -> float:
    """Where a container's times begin, in seconds. Before 0 only where the picture begins there: sound may have to warm up."""
    first = (container.start_time or 0) / 1e6
    if first >= 0 or picture is None or picture.start_time is None:
        return max(first, 0.0)
    return min(0.0, float(picture.start_time * picture.time_base))
