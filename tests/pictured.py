"""A finished run over sixty small pictures, made without network or models: bounds, duplicates, captions with HTML injection."""

import io
import json
import tarfile

from PIL import Image, ImageDraw

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.select.where import Where
from curate.sources.webdataset import WebDataset

EVIL = "</script><script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=\"document.title='owned'\"> & \u202eevil"


def picture(n: int, side: int = 64) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (side, side), (n * 37 % 256, n * 11 % 256, n % 256))
    ImageDraw.Draw(image).ellipse((8, 8, 20 + n % 30, 40), fill=(255 - n, n * 5 % 256, 90))
    image.save(out, "PNG")
    return out.getvalue()


def caption(n: int) -> str:
    # Whatever is drawn of the others, a report shows the one pair of duplicates.
    return EVIL if n in (7, 30, 31) else "" if n % 20 == 19 else "word " * (1 + n % 9)


def pool(path, n: int = 60) -> str:
    """A tar of pictures; every tenth is small, and picture 31 is that of 30."""
    with tarfile.open(path / "pool.tar", "w") as tar:
        for i in range(n):
            said = {
                "url": f"http://host{i % 3}.example/{i}.png?<b>",
                "licence": ("CC-BY-4.0", "MIT")[i % 2],
                "language": ("en", "de", "fr")[i % 3],
            }
            for suffix, data in (
                ("png", picture(30 if i == 31 else i, 20 if i % 10 == 5 else 64)),
                ("txt", caption(i).encode()),
                ("json", json.dumps(said).encode()),
            ):
                info = tarfile.TarInfo(f"{i:05d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(path / "pool.tar")


def recipe(paths, words: int = 3, most: float | None = None) -> Recipe:
    return Recipe(
        WebDataset([paths]),
        [CaptionWords(min=words), Fetch(), ImageSide(min=32)],
        [ExactDedup(), Where("caption_words", max=most or 8.0)],
        shards=Shards(size=20),
        name="pictured",
    )


def pictured(path, **options):
    """The run; its folder is path/run."""
    path.mkdir(parents=True, exist_ok=True)
    return run(recipe(pool(path), **options), str(path / "run"), engine="local", part_size=25)
