"""Match lists of PDQ hashes: a picture that was scaled and recompressed matches, another one does not; nothing of it is kept."""

import io

import numpy as np
import pytest
from PIL import Image

from curate.errors import RecipeError
from curate.fetch.stage import hook

pdqhash = pytest.importorskip("pdqhash")


def picture(seed: int) -> Image.Image:
    """Soft blobs: PDQ looks at low frequencies."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **how) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def listed(*images: Image.Image) -> str:
    bits = [pdqhash.compute(np.asarray(image))[0] for image in images]
    return "".join(f"{np.packbits(np.asarray(b, np.uint8)).tobytes().hex()},100\n" for b in bits)


def test_pictures_that_look_like_a_listed_one_match(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# of some authority\n\n" + listed(picture(1), picture(2)))
    matches = hook(f"pdq:{path}")
    assert matches(encoded(picture(1).resize((200, 150)), "JPEG", quality=60)) and matches(encoded(picture(2), "PNG"))
    assert not matches(encoded(picture(3), "JPEG")) and not matches(b"no picture")
    assert not matches(encoded(Image.new("RGB", (64, 64)), "PNG"))  # of no quality


@pytest.mark.parametrize(("text", "says"), [("abc\n", "line 1: 'abc' is not a PDQ hash"), ("# none\n", "no PDQ hash in it")])
def test_a_list_that_is_none_is_named(text, says, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(RecipeError, match=f"list.txt: {says}"):
        hook(f"pdq:{tmp_path / 'list.txt'}")
