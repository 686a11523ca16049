"""Tasks on video files through PyAV: properties, scene changes, frames, sound, clips. They run in a contained child process."""

import io
import math
import struct
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.fetch.image import MAX_PIXELS
from curate.videos import colour
from curate.videos.reader import VideoReader

#: Pixels of the longer side of the thumbnails in which scene changes are detected.
_THUMBNAIL = 64
#: Seconds of sound decoded before the wanted span, which some decoders need to start; deviation of times that is not a gap.
_PREROLL, _GAP = 1.0, 0.04


def run_task(task: str, path: str, *arguments: Any) -> dict[str, Any]:
    """The result of a task (`probe`, `scenes`, `frames`, `sound` or `clip`) on a file: plain values, with an `outcome` (None if it
    succeeded)."""
    import av

    try:
        with VideoReader(path) as video:
            return {"outcome": None, **TASKS[task](video, *arguments)}
    except (av.error.FFmpegError, OSError, ValueError, IndexError, ArithmeticError, EOFError):
        return {"outcome": "broken"}


def probe(video: VideoReader) -> dict[str, Any]:
    """Length in seconds, size in pixels as displayed, frames a second, whether there is sound, the title."""
    stream = video.picture
    if stream is None:
        return {"outcome": "no_picture"}
    width, height = stream.codec_context.width, stream.codec_context.height
    if not width or not height or width * height > MAX_PIXELS:
        return {"outcome": "too_many_pixels" if width * height > MAX_PIXELS else "broken"}
    if not math.isfinite(video.seconds) or video.seconds <= 0:
        return {"outcome": "no_duration"}
    found = {
        "seconds": round(video.seconds, 3),
        "fps": float(stream.average_rate or 0),
        "sound": video.sound is not None,
        "title": video.container.metadata.get("title"),
    }
    _, first = next(video.frames("picture"), (None, None))
    if first is None:
        return {"outcome": "broken"}
    sides = (first.height, first.width) if orientation(first)[0] else (first.width, first.height)
    return {**found, "width": sides[0], "height": sides[1]}


def scenes(video: VideoReader, bound: float) -> dict[str, Any]:
    """The times in seconds of scene changes: where the picture changes by more than `bound`.

    The rule of PySceneDetect's ContentDetector, whose bound is 27: the mean absolute difference of hue, saturation and value
    (OpenCV's 8-bit scales) between consecutive frames, here of thumbnails.
    """
    import cv2

    cuts, before = [], None
    for time, frame in video.frames("picture"):
        hsv = cv2.cvtColor(thumbnail(frame), cv2.COLOR_RGB2HSV).astype(np.int16)
        if before is not None and np.abs(hsv - before).mean() > bound:
            cuts.append(round(time, 3))
        before = hsv
    return {"cuts": cuts}


def frames(video: VideoReader, clips: list[list[float]], side: int, quality: int) -> dict[str, Any]:
    """For each time of each clip the frame on the screen as a JPEG, or None if there is no such frame.

    A frame is a tuple: bytes, width, height, original width and height, and the change from the previous frame of the clip (mean
    absolute difference of grey values, 0 to 1; None for the first). side: pixels to which the shorter side is reduced, 0 for none.
    """
    from curate.fetch.reencode import encode

    found: list[tuple | None] = []
    last, firsts = None, set(np.cumsum([0, *map(len, clips)]).tolist())
    for frame in video.frames_at([t for clip in clips for t in clip]):
        last = None if len(found) in firsts else last
        if frame is None or frame.width * frame.height > MAX_PIXELS:
            found.append(None)
            continue
        grey = grey_square(frame)
        change = None if last is None else round(float(np.abs(grey.astype(np.int16) - last).mean()) / 255, 4)
        pixels = upright(frame, rgb(frame, side))
        size = (frame.height, frame.width) if orientation(frame)[0] else (frame.width, frame.height)
        found.append((encode(pixels, "jpg", quality), pixels.shape[1], pixels.shape[0], *size, change))
        last = grey
    return {"frames": found}


def sound(video: VideoReader, start: float, end: float, rate: int) -> dict[str, Any]:
    """The sound of a span as a WAV file: one channel, 16 bits, `rate` samples a second, each at its own time, with silence in gaps.

    With its length in seconds and its level (RMS in dB below full scale; -120 is silence). `wav` is None if the span has no sound.
    """
    if video.sound is None:
        return {"wav": None}
    samples, has_sound = np.zeros(max(0, round((end - start) * rate)), np.int16), False
    for begin, run in _gapless_runs(video, start, end, rate):
        first = round((begin - start) * rate)
        run = run[max(0, -first) :][: max(0, len(samples) - max(0, first))]
        samples[max(0, first) : max(0, first) + len(run)] = run
        has_sound = has_sound or len(run) > 0
    if not has_sound:
        return {"wav": None}
    power = float(np.square(samples.astype(np.float64) / 32768).mean())
    return {"wav": wav(samples, rate), "seconds": len(samples) / rate, "level": round(10 * math.log10(max(power, 1e-12)), 2)}


def _gapless_runs(video: VideoReader, start: float, end: float, rate: int) -> Iterator[tuple[float, np.ndarray]]:
    """Runs of resampled samples without gaps, each with the time of its first sample. A change of the sample format starts a run."""
    from av.audio.resampler import AudioResampler

    resampler, parts, begin, length, last_kind = None, [], 0.0, 0.0, None
    for time, frame in video.frames("sound", start - _PREROLL):
        if time >= end:
            break
        seconds, kind = frame.samples / frame.sample_rate, (frame.format.name, frame.layout.name, frame.sample_rate)
        if time + seconds <= start - _PREROLL / 2:
            continue
        if resampler is None or kind != last_kind or abs(time - begin - length) > _GAP:
            if resampler is not None:
                yield begin, _concatenated(parts + resampler.resample(None))
            resampler, parts, begin, length, last_kind = AudioResampler("s16", "mono", rate), [], time, 0.0, kind
        parts += resampler.resample(frame)
        length += seconds
    if resampler is not None:
        yield begin, _concatenated(parts + resampler.resample(None))


def _concatenated(frames: list[Any]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int16), *(f.to_ndarray().reshape(-1) for f in frames)])


#: Codecs that players support in MP4.
_IN_MP4 = {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "aac", "mp3", "opus", "ac3", "flac"}


def clip(video: VideoReader, start: float, end: float) -> dict[str, Any]:
    """A span as a file of its own, its packets copied without re-encoding: `clip`, the bytes; `suffix`, mp4 or mkv; `begins`, the time
    in the file at which the span begins, since the file starts at the preceding key frame."""
    import av

    streams = [s for s in (video.picture, video.sound) if s is not None]
    suffix = "mp4" if all(s.codec_context.name in _IN_MP4 for s in streams) else "mkv"
    out = io.BytesIO()
    with av.open(out, "w", format={"mkv": "matroska"}.get(suffix, suffix)) as made:
        target = {s.index: made.add_stream_from_template(s) for s in streams}
        begun = None
        for time, packet in video.packets(streams, start):
            if time >= end:
                break
            begun = time if begun is None else begun
            shift = round((video.start + begun) / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = target[packet.stream.index]
            made.mux(packet)
    if begun is None:
        return {"outcome": "missing"}
    return {"clip": out.getvalue(), "suffix": suffix, "begins": round(max(0.0, start - begun), 3)}


TASKS = {"probe": probe, "scenes": scenes, "frames": frames, "sound": sound, "clip": clip}


# ---- frames


def rgb(frame: Any, side: int = 0, size: tuple[int, int] | None = None) -> np.ndarray:
    """A frame as uint8 RGB, not rotated, high dynamic range tone-mapped; its shorter side at most `side` pixels (0: no limit), or of a
    `size` (width, height)."""
    is_hdr = frame.color_trc in (colour.PQ, colour.HLG)
    if size is not None:
        converted = frame.reformat(width=size[0], height=size[1], format="rgb48le" if is_hdr else "rgb24")
    else:
        converted = frame.reformat(format="rgb48le" if is_hdr else "rgb24")
    pixels = shrink(converted.to_ndarray(), side)
    return colour.srgb(pixels, frame.color_trc) if is_hdr else pixels


def thumbnail(frame: Any) -> np.ndarray:
    """A frame as uint8 RGB, its longer side of _THUMBNAIL pixels."""
    scale = _THUMBNAIL / max(frame.width, frame.height)
    return rgb(frame, size=(max(2, round(frame.width * scale)), max(2, round(frame.height * scale))))


def grey_square(frame: Any) -> np.ndarray:
    """A frame as 32 x 32 grey values, uint8 (1024,)."""
    if frame.color_trc in (colour.PQ, colour.HLG):
        return (rgb(frame, size=(32, 32)) @ np.array([0.299, 0.587, 0.114])).astype(np.uint8).reshape(-1)
    return frame.reformat(width=32, height=32, format="gray").to_ndarray().reshape(-1)


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """How to rotate a frame for display, from the display matrix that telephones write: whether to transpose it, and then whether to
    mirror it from left to right, and from top to bottom."""
    matrix = next((bytes(d) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    if matrix is None or len(matrix) != 36:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if transpose else (False, a < 0, d < 0)


def upright(frame: Any, pixels: np.ndarray) -> np.ndarray:
    """Pixels rotated and mirrored for display, as the frame's display matrix says."""
    transpose, mirror_left_right, mirror_top_bottom = orientation(frame)
    pixels = pixels.transpose(1, 0, 2) if transpose else pixels
    return np.ascontiguousarray(pixels[:: -1 if mirror_top_bottom else 1, :: -1 if mirror_left_right else 1])


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels resized so that the shorter side has at most `side` pixels; unchanged if it is 0."""
    import cv2

    height, width = pixels.shape[:2]
    if not side or min(width, height) <= side:
        return pixels
    scale = side / min(width, height)
    return cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples (int16, one channel) as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()
