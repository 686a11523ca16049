"""Videos: are scene changes found, is the frame of a moment that of the moment, and what does a clip cost?

    python -m benchmarks.videos [--films N] [--seconds S]

The films are made here: scenes of random length (0.8 s and more), each a picture of its own that pans, encoded with H.264, 320 x 240,
25 frames a second; every frame carries its number as black and white squares. A cut is found if one is reported within two
frames of it. Cost: CPU seconds of the whole process tree, for frames and sound of every clip, beside a loop over PyAV that decodes
each film once from end to end and keeps the same frames and the same sound, in one process, without a ledger, hashes or shards.
"""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import psutil
import simplejpeg
from PIL import Image

from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.videos import Videos
from curate.videos import media
from curate.videos.frames import Frames, Sound
from curate.videos.reader import ROUNDED

FPS, SIZE, BITS, CELL = 25, (320, 240), 12, 10


def scene(rng: np.random.Generator) -> np.ndarray:
    """A picture wider than the screen: smooth blobs of colour, brighter or darker as a whole."""
    coarse = rng.integers(0, 256, (5, 9, 3)) * rng.uniform(0.4, 1.0)
    return np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((SIZE[0] + 120, SIZE[1]), Image.BICUBIC))


def numbered(picture: np.ndarray, n: int) -> np.ndarray:
    """The picture with a number written into its upper left corner."""
    picture = picture.copy()
    for bit in range(BITS):
        picture[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (n >> bit & 1)
    return picture


def number(picture: np.ndarray) -> int:
    return sum(int(picture[2 : CELL - 2, b * CELL + 2 : (b + 1) * CELL - 2].mean() > 127) << b for b in range(BITS))


def film(path: Path, seconds: float, seed: int) -> list[float]:
    """Write a film; returns the seconds at which its scenes change."""
    rng, cuts, at = np.random.default_rng(seed), [], 0.0
    while (at := round(at + float(rng.uniform(0.8, 6.0)), 2)) < seconds - 0.8:
        cuts.append(round(at * FPS) / FPS)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"threads": "1", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        voice = out.add_stream("aac", rate=16_000, layout="mono")
        picture, count, since = scene(rng), int(seconds * FPS), 0
        for n in range(count):
            if any(abs(n / FPS - c) < 1e-6 for c in cuts):
                picture, since = scene(rng), n
            shift = min(n - since, 119)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(picture[:, shift : shift + SIZE[0]], n), format="rgb24")))
        out.mux(stream.encode())
        wave = (rng.standard_normal(int(seconds * 16_000)) * 3000).astype(np.int16)
        for start in range(0, len(wave), 1024):
            piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
            piece.sample_rate, piece.pts = 16_000, start
            out.mux(voice.encode(piece))
        out.mux(voice.encode())
    return cuts


def scenes_found(films: dict[Path, list[float]]) -> dict[str, float]:
    hit = reported = planted = 0
    for path, cuts in films.items():
        found = media.run_task("scenes", str(path), 27.0)["cuts"]
        near = sum(any(abs(c - f) <= 2 / FPS for f in found) for c in cuts)
        hit, planted, reported = hit + near, planted + len(cuts), reported + len(found)
    return {"cuts": planted, "recall": hit / planted, "precision": hit / max(1, reported)}


def moments_right(films: dict[Path, list[float]], each: int = 40) -> dict[str, float]:
    """Shares of frames that are the one on the screen at the moment asked for."""
    rng, right, asked = np.random.default_rng(1), 0, 0
    for path in films:
        length = media.run_task("probe", str(path))["seconds"]
        times = sorted(round(float(t), 3) for t in rng.uniform(0, length - 0.1, each))
        for time_, frame in zip(times, media.run_task("frames", str(path), [times], 0, 95)["frames"]):
            right += number(simplejpeg.decode_jpeg(frame[0])) == int((time_ + ROUNDED) * FPS)
            asked += 1
    return {"frames": asked, "right": right / asked}


def cpu() -> float:
    """CPU seconds of this process and of all it waited for."""
    used = psutil.Process().cpu_times()
    return used.user + used.system + used.children_user + used.children_system


def plain(films: dict[Path, list[float]], clips: dict[str, list[tuple[float, float, list[float]]]]) -> int:
    """The loop: decode each film once, keep the frames that are asked for and the sound of the clips."""
    kept = 0
    for path in films:
        wanted = iter(sorted(t for c in clips[str(path)] for t in c[2]))
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            kept += sum(len(simplejpeg.encode_jpeg(p, 95, "RGB", "420")) > 0 for p in chosen(container, stream, wanted))
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
            samples = np.concatenate(
                [f.to_ndarray()[0] for frame in container.decode(audio=0) for f in resampler.resample(frame)]
            )
            for start, end, _ in clips[str(path)]:
                io.BytesIO(media.wav(samples[int(start * 16_000) : int(end * 16_000)], 16_000))
    return kept


def chosen(container, stream, wanted: Iterator[float]) -> Iterator[np.ndarray]:
    target, before = next(wanted, None), None
    for frame in container.decode(stream):
        while target is not None and before is not None and frame.time > target + 0.002:
            yield before.to_ndarray(format="rgb24")
            target = next(wanted, None)
        before = frame
    while target is not None:
        yield before.to_ndarray(format="rgb24")
        target = next(wanted, None)


def cost(films: dict[Path, list[float]], folder: Path) -> dict[str, float]:
    recipe = Recipe(
        Videos([str(p) for p in films], cut="scenes", frames=4, max_seconds=20.0), [Frames(), Sound()], shards=Shards(size=500)
    )
    start, wall = cpu(), time.perf_counter()
    made = run(recipe, str(folder / "run"), engine="local")
    ours, wall = cpu() - start, time.perf_counter() - wall
    clips: dict[str, list] = {str(p): [] for p in films}
    asked = made.sql("""select d.video, d.start, d.end, list(i.at order by i.at) from documents d join images i on i.doc_uid = d.uid
        group by all order by 1, 2""").fetchall()
    for video, begin, end, times in asked:
        clips[video].append((begin, end, times))
    start = cpu()
    for path in films:  # the cuts, found in the same way
        media.run_task("scenes", str(path), 27.0)
    plain(films, clips)
    loop = cpu() - start
    return {
        "clips": len(asked),
        "clips per CPU-s": len(asked) / ours,
        "clips per CPU-s of the loop": len(asked) / loop,
        "ratio": loop / ours,
        "films": len(films),
        "wall seconds": wall,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--films", type=int, default=12, help="how many films")
    options.add_argument("--seconds", type=float, default=60.0, help="their length")
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-videos-") as name:
        films = {Path(name) / f"{n}.mp4": film(Path(name) / f"{n}.mp4", args.seconds, n) for n in range(args.films)}
        for what, found in (
            ("scene changes", scenes_found(films)),
            ("moments", moments_right(films)),
            ("cost", cost(films, Path(name))),
        ):
            print(what, json.dumps({k: round(v, 3) for k, v in found.items()}))
            if "ratio" in found:
                print(f"ratio videos, CPU of the plain loop over ours: {found['ratio']:.3f}")


if __name__ == "__main__":
    main()
