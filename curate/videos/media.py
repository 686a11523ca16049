"""Video files through PyAV: what they are, where scenes change, their frames and their sound. Runs in a contained child.

A file is opened by its bytes, never by what they point to: formats that name other files or addresses (playlists, concat
lists, DASH) are not among those allowed, and no protocol but plain files is. One thread decodes, so the bytes are the same
on every machine with the same libraries.
"""

import io
import math
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.fetch.image import MAX_PIXELS

#: Containers that hold their own streams.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
#: Seconds that are decoded rather than sought.
_AHEAD = 4.0
#: Containers round times, to a millisecond at the coarsest.
_ROUNDED = 0.002
#: Pixels on the longer side on which scene changes and motion are judged.
_SMALL = 64


def answer(what: str, path: str, *about: Any) -> dict[str, Any]:
    """`probe`, `scenes`, `frames` or `sound` of a file: plain values, with an `outcome` (None if it went well)."""
    import av

    try:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        with open(path, "rb") as file, av.open(file, options=options, metadata_errors="replace") as container:
            return {"outcome": None, **TASKS[what](container, *about)}
    except (av.error.FFmpegError, ValueError, IndexError, ArithmeticError, EOFError):
        return {"outcome": "broken"}


def probe(container: Any) -> dict[str, Any]:
    """Seconds, size in pixels, frames a second, whether there is sound, the title."""
    if not container.streams.video:
        return {"outcome": "no_picture"}
    stream = container.streams.video[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if not width or not height or width * height > MAX_PIXELS:
        return {"outcome": "too_many_pixels" if width * height > MAX_PIXELS else "broken"}
    seconds = float(container.duration / 1e6) if container.duration else float((stream.duration or 0) * (stream.time_base or 0))
    if not math.isfinite(seconds) or seconds <= 0:
        return {"outcome": "no_duration"}
    rate = float(stream.average_rate or 0)
    return {
        "seconds": round(seconds, 3),
        "width": width,
        "height": height,
        "fps": rate,
        "sound": bool(container.streams.audio),
        "title": container.metadata.get("title"),
    }


def scenes(container: Any, bound: float) -> dict[str, Any]:
    """Seconds at which the picture changes by more than `bound`.

    The rule of PySceneDetect's ContentDetector, whose bound is 27: the mean absolute difference of hue, saturation and value
    (OpenCV's 8-bit scales) between neighbouring frames, here of frames made small.
    """
    import cv2

    cuts, before = [], None
    for frame in decoded(container):
        hsv = cv2.cvtColor(small(frame), cv2.COLOR_RGB2HSV).astype(np.int16)
        if before is not None and np.abs(hsv - before).mean() > bound:
            cuts.append(round(seconds_of(frame), 3))
        before = hsv
    return {"cuts": cuts}


def frames(container: Any, clips: list[list[float]], side: int, quality: int) -> dict[str, Any]:
    """For each time of each clip the frame on the screen as a JPEG: bytes, width, height, original width and height, and the
    change to the frame before it in the clip (mean absolute difference of grey, 0 to 1; None for the first). None: there is no
    such frame. side: pixels that the shorter side is brought down to, 0 for none."""
    from curate.fetch.reencode import encode

    found: list[tuple | None] = []
    last, firsts = None, set(np.cumsum([0, *map(len, clips)]).tolist())
    for frame in shown(container, [t for clip in clips for t in clip]):
        last = None if len(found) in firsts else last
        if frame is None or frame.width * frame.height > MAX_PIXELS:
            found.append(None)
            continue
        grey = grey_square(frame)
        change = None if last is None else round(float(np.abs(grey.astype(np.int16) - last).mean()) / 255, 4)
        pixels = upright(frame, frame.to_ndarray(format="rgb24"))
        size = pixels.shape[1], pixels.shape[0]
        pixels = np.ascontiguousarray(reduced(pixels, side))
        found.append((encode(pixels, "jpg", quality), pixels.shape[1], pixels.shape[0], *size, change))
        last = grey
    return {"frames": found}


def sound(container: Any, start: float, end: float, rate: int) -> dict[str, Any]:
    """The sound of a span as a WAV file: one channel, 16 bits, `rate` samples a second; with its seconds and its level (RMS in
    dB below full scale; -120 is silence). Nothing where there is none."""
    from av.audio.resampler import AudioResampler

    if not container.streams.audio:
        return {"wav": None}
    stream = container.streams.audio[0]
    resampler, pieces, first = AudioResampler(format="s16", layout="mono", rate=rate), [], None
    if start > 1:
        container.seek(int((start - 1) * 1e6), backward=True)
    for frame in container.decode(stream):
        at = seconds_of(frame)
        if at >= end:
            break
        if at + frame.samples / frame.sample_rate <= start:
            continue
        first = at if first is None else first
        pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(frame)]
    pieces += [f.to_ndarray().reshape(-1) for f in resampler.resample(None)] if first is not None else []
    samples = np.concatenate(pieces) if pieces else np.empty(0, np.int16)
    skip = max(0, round((start - (first or 0.0)) * rate))
    samples = samples[skip : skip + round((end - start) * rate)]
    if not len(samples):
        return {"wav": None}
    power = float(np.square(samples.astype(np.float64) / 32768).mean())
    return {"wav": wav(samples, rate), "seconds": len(samples) / rate, "level": round(10 * math.log10(max(power, 1e-12)), 2)}


TASKS = {"probe": probe, "scenes": scenes, "frames": frames, "sound": sound}


# ---- frames


def decoded(container: Any) -> Iterator[Any]:
    stream = container.streams.video[0]
    if not stream.codec_context.is_open:
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
    yield from container.decode(stream)


def shown(container: Any, times: list[float]) -> Iterator[Any | None]:
    """For each time the last frame that begins at it or before. The way back, and a long way on, is sought."""
    walk, now, ahead = decoded(container), None, None
    for time in times:
        at = None if now is None else seconds_of(now)
        if at is None or not at - _ROUNDED <= time <= at + _AHEAD:
            if time > _AHEAD or at is not None:
                container.seek(max(0, int((time - _ROUNDED) * 1e6)), backward=True)
            walk, now, ahead = decoded(container), None, None
        while ahead is None or seconds_of(ahead) <= time + _ROUNDED:
            now = ahead or now
            ahead = next(walk, None)
            if ahead is None:
                break
        yield now or ahead


def seconds_of(frame: Any) -> float:
    """When a frame begins; ValueError for one that does not say."""
    if frame.time is None:
        raise ValueError("a frame without a time")
    return frame.time


def small(frame: Any) -> np.ndarray:
    scale = _SMALL / max(frame.width, frame.height)
    return frame.reformat(
        width=max(2, round(frame.width * scale)), height=max(2, round(frame.height * scale)), format="rgb24"
    ).to_ndarray()


def grey_square(frame: Any) -> np.ndarray:
    """A frame as 32 x 32 grey values, flat."""
    return frame.reformat(width=32, height=32, format="gray").to_ndarray().reshape(-1)


def upright(frame: Any, pixels: np.ndarray) -> np.ndarray:
    """Turned as the file says that it is to be shown (telephones write it)."""
    turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.rot90(pixels, turns) if turns else pixels


def reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    import cv2

    height, width = pixels.shape[:2]
    if not side or min(width, height) <= side:
        return pixels
    scale = side / min(width, height)
    return cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def wav(samples: np.ndarray, rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()
