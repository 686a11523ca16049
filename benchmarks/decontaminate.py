"""Edited evaluation pictures that Decontaminate finds, by edit, and other pictures that it takes for them.

    python -m benchmarks.decontaminate [--scenes N] [--others N] [--seed N]

Scenes are pictures of Debian's wallpaper packages, photographs most of them, that chose no bound; each is in an evaluation set
once and in the pool in every way of EDITS, saved as JPEG of quality 90. Windows of the photographs of other packages are beside them.
"""

import argparse
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from benchmarks.near import cut
from benchmarks.pictures import window
from curate.dedup.evaluation import Decontaminate
from curate.dedup.phash import PerceptualHash
from curate.models.packages import Package, unpacked
from curate.select.exchange import frame_of

SCENES = ("plasma-workspace-wallpapers", "mate-backgrounds", "gnome-backgrounds", "sway-backgrounds")
OTHERS = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "ukui-wallpapers", "endless-sky-data")


def imagenet(p: Image.Image, side: int = 256) -> Image.Image:
    """Resize the shorter side to 256, cut 224 x 224 out of the middle."""
    scale = side / min(p.size)
    p = p.resize((round(p.width * scale), round(p.height * scale)), Image.Resampling.BILINEAR)
    left, top = (p.width - 224) // 2, (p.height - 224) // 2
    return p.crop((left, top, left + 224, top + 224))


def lettered(p: Image.Image, words: tuple[str, ...] = ("NOBODY EXPECTS", "THIS PICTURE"), share: float = 0.11) -> Image.Image:
    """White words with a black outline at the top and the bottom."""
    p, size = p.copy(), int(p.height * share)
    draw, font = ImageDraw.Draw(p), ImageFont.load_default(size)
    for text, y in zip(words, (size // 4, p.height - int(size * 1.5))):
        draw.text((p.width // 2, y), text, "white", font, anchor="ma", stroke_width=max(1, size // 14), stroke_fill="black")
    return p


def letterbox(p: Image.Image) -> Image.Image:
    return ImageOps.pad(p, (max(p.size),) * 2, color="black")


Edit = Callable[[Image.Image, np.random.Generator], Image.Image]
EDITS: dict[str, Edit] = {
    "copy": lambda p, r: p,
    "JPEG q30": lambda p, r: p,
    "half size": lambda p, r: p.resize((p.width // 2, p.height // 2), Image.Resampling.LANCZOS),
    "mirror": lambda p, r: ImageOps.mirror(p),
    "blur": lambda p, r: p.filter(ImageFilter.GaussianBlur(2)),
    "brightness x 1.25": lambda p, r: ImageEnhance.Brightness(p).enhance(1.25),
    "ImageNet's centre crop": lambda p, r: imagenet(p),
    "CLIP's centre crop": lambda p, r: imagenet(p, 224),
    "greyscale": lambda p, r: p.convert("L").convert("RGB"),
    "contrast x 1.3": lambda p, r: ImageEnhance.Contrast(p).enhance(1.3),
    "contrast x 0.7": lambda p, r: ImageEnhance.Contrast(p).enhance(0.7),
    "saturation x 1.4": lambda p, r: ImageEnhance.Color(p).enhance(1.4),
    "white border 5 %": lambda p, r: ImageOps.expand(p, int(min(p.size) * 0.05), "white"),
    "white border 2 to 10 %": lambda p, r: ImageOps.expand(p, int(min(p.size) * r.uniform(0.02, 0.10)), "white"),
    "letterbox, black": lambda p, r: letterbox(p),
    "rotated 2 degrees": lambda p, r: p.rotate(2, Image.Resampling.BILINEAR),
    "meme text": lambda p, r: lettered(p),
    "crop 5 %": lambda p, r: cut(p, 0.05),
    "crop 10 %": lambda p, r: cut(p, 0.10),
    "crop 10 % anywhere": lambda p, r: cut(p, 0.10, tuple(r.random(2))),
    "crop 15 % anywhere": lambda p, r: cut(p, 0.15, tuple(r.random(2))),
    "crop 25 %": lambda p, r: cut(p, 0.25),
    "crop 25 % anywhere": lambda p, r: cut(p, 0.25, tuple(r.random(2))),
    "rotated 90 degrees": lambda p, r: p.rotate(90, expand=True),
}


def photographs(names: tuple[str, ...]) -> list[Path]:
    """A file of each name that is no picture of another size (`3840x2160.jpg`: of each folder) and no screenshot, of 15 kB and more."""
    found: dict[str, Path] = {}
    for name in names:
        for f in sorted(unpacked(Package("debian", name)).rglob("*")):
            if f.suffix.lower() in (".jpg", ".jpeg", ".webp") and f.stem != "screenshot" and f.stat().st_size > 15_000:
                scene = (
                    str(f.parent.parent) if re.fullmatch(r"\d+x\d+", f.stem) else re.sub(r"[-_]?(\d+x\d+|[ld])$", "", f.stem)
                )
                found.setdefault(scene, f)
    return list(found.values())


def scene(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.draft("RGB", (1024, 1024))
        image = image.convert("RGB")
        image.thumbnail((640, 640))
        return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--others", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    chance = np.random.default_rng(options.seed)
    scenes = [scene(f) for f in photographs(SCENES)[: options.scenes]]
    files = photographs(OTHERS)
    photos = [cv2.cvtColor(np.asarray(scene(f)), cv2.COLOR_RGB2BGR) for f in files]
    pool, kinds, of = [], [], []
    for name, edit in EDITS.items():
        for n, p in enumerate(scenes):
            out = io.BytesIO()
            edit(p, chance).save(out, "JPEG", quality=30 if name == "JPEG q30" else 90)
            pool.append(np.asarray(Image.open(out)))
            kinds.append(name)
            of.append(n)
    for n in range(options.others):
        pool.append(np.asarray(Image.open(io.BytesIO(window(photos[n % len(photos)], chance))).convert("RGB")))
        kinds.append("")
        of.append(-1)
    hashed = PerceptualHash().run(pa.table({"id": range(len(pool))}), pool)
    table = pa.table({"id": range(len(pool)), "uid": [f"{n:032x}" for n in range(len(pool))], "text": [""] * len(pool)})
    for column in hashed.column_names:
        table = table.append_column(column, hashed[column])
    with tempfile.TemporaryDirectory() as folder:
        for n, p in enumerate(scenes):
            p.save(f"{folder}/{n}.png")
        made = Decontaminate({"set": folder}).select(frame_of(table, folder))
        found = made.columns.table()
    match = dict(zip(found["id"].to_pylist(), found["decontaminate_match"].to_pylist()))
    right = np.array([match.get(n, "").removeprefix("set: ") == f"{of[n]}.png" for n in range(len(pool))])
    for name in EDITS:
        at = np.array(kinds) == name
        print(f"ratio decontaminate, {name}: {right[at].mean():.3f} ({right[at].sum()} of {at.sum()})")
    others = [n for n, kind in enumerate(kinds) if not kind]
    wrong = [n for n in match if not right[n]]
    print(
        f"false removals: {sum(n in match for n in others)} of {len(others)} others; edits taken for another scene {sum(n < others[0] for n in wrong)}"
    )


if __name__ == "__main__":
    main()
