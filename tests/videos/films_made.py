"""Generated videos in every container whose frames encode their number and whose sound starts at known times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, CELL, SIZE = 10, 16, (160, 96)
RATE = 16_000
CLOCK = Fraction(1, 1000)


def numbered(n: int) -> np.ndarray:
    """Ten squares, black or white, in two rows, on a grey that changes."""
    picture = np.full((SIZE[1], SIZE[0], 3), 60 + 13 * n % 140, np.uint8)
    for bit in range(BITS):
        y, x = divmod(bit, 5)
        picture[y * 32 : y * 32 + 32, x * 32 : x * 32 + 32] = 255 * (n >> bit & 1)
    return picture


def number(picture: np.ndarray) -> int:
    return sum(int(picture[b // 5 * 32 + 16, b % 5 * 32 + 16].mean() > 127) << b for b in range(BITS))


def film(
    path: Path,
    begins: list[float],
    codec: str = "libx264",
    bframes: int = 2,
    gop: int = 25,
    sounds: list[tuple[float, float]] = (),
    offset: float = 0.0,
    options: dict[str, str] | None = None,
) -> str:
    """A film whose n-th frame begins at `begins[n]` seconds; there is a tone from and to each of `sounds`. All times later by `offset`."""
    with av.open(str(path), "w", options=options or {}) as out:
        stream = out.add_stream(codec, rate=25, options={"threads": "1", "bf": str(bframes), "g": str(gop)})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *SIZE, "yuv420p", 1_500_000
        if codec in ("mpeg2video", "mpeg4"):
            stream.codec_context.qmin = 2
        else:
            stream.codec_context.time_base = CLOCK
        voice = (
            out.add_stream("pcm_s16le" if path.suffix in (".mkv", ".avi") else "aac", rate=RATE, layout="mono")
            if sounds
            else None
        )
        for n, time in enumerate(begins):
            picture = av.VideoFrame.from_ndarray(numbered(n), format="rgb24").reformat(format="yuv420p")
            unit = stream.codec_context.time_base or CLOCK
            picture.pts, picture.time_base = round((time + offset) / unit), unit
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if voice:
            for begin, end in sounds:
                for start in np.arange(begin, end - 1e-9, 1024 / RATE):
                    t = start + np.arange(1024) / RATE
                    wave = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)
                    piece = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                    piece.sample_rate, piece.time_base = RATE, Fraction(1, RATE)
                    piece.pts = round((start + offset) * RATE)
                    out.mux(voice.encode(piece))
            out.mux(voice.encode())
    return str(path)
