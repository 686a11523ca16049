"""Generated videos: scenes of known colours and lengths, a moving square, a tone; and their transcripts."""

from pathlib import Path

import av
import numpy as np

#: Seconds at which the picture of `film` changes.
CUTS = (2.0, 5.0, 6.5)
COLOURS = ((200, 40, 40), (20, 60, 20), (90, 130, 255), (230, 230, 210))

SRT = """1
00:00:00,500 --> 00:00:01,500
<i>First we wash</i> the red apples

2
00:00:02,200 --> 00:00:04,600
then cut the green pears &amp; the rest

3
00:00:06,800 --> 00:00:07,900
and put the yellow plate on the table
"""


def frame(time: float, size: tuple[int, int] = (160, 96), still: bool = False) -> np.ndarray:
    """The picture at a time: the scene's colour, some texture, and a white square that moves."""
    scene = sum(time >= c - 1e-6 for c in CUTS)
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = COLOURS[scene]
    picture[::8] = np.asarray(COLOURS[scene]) // 2
    x = 10 if still else int(10 + 12 * time) % (width - 20)
    picture[20:40, x : x + 20] = 255
    return picture


def film(
    path: Path,
    seconds: float = 8.0,
    fps: int = 20,
    codec: str = "mpeg4",
    sound: bool = True,
    still: bool = False,
    size: tuple[int, int] = (160, 96),
) -> str:
    """Write a video; its sound is a tone of 440 Hz up to the fourth second, then silence."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=fps, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        voice = (
            out.add_stream("pcm_s16le" if path.suffix in (".mkv", ".avi") else "aac", rate=16_000, layout="mono")
            if sound
            else None
        )
        for n in range(int(seconds * fps)):
            picture = av.VideoFrame.from_ndarray(frame(n / fps, size, still), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if voice:
            wave = tone(seconds)
            for start in range(0, len(wave), 1024):
                piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
                piece.sample_rate, piece.pts = 16_000, start
                out.mux(voice.encode(piece))
            out.mux(voice.encode())
    return str(path)


def tone(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * 16_000)) / 16_000
    return np.where(t < 4, 8000 * np.sin(2 * np.pi * 440 * t), 0).astype(np.int16)
