"""Pictures of text: other words are another picture, the same words resized, recompressed, mirrored or cropped are not."""

import random

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from curate.dedup.fine_structure import agree, unpacked
from curate.dedup.near import NearDedup
from curate.dedup.phash import CROPS, FINE, FINE_LEVELS, VIEWS, fine
from tests.dedup.pool import edges
from tests.dedup.test_near import EDITS, picture, pool

WORDS = (
    "bridge river market apple cheese lamp water church stone road valley mason north spring traffic town school carts".split()
)
MANY = 10


def write(ground, lines, at, size, colour="black", outline=0):
    image = Image.fromarray(ground)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for n, line in enumerate(lines):
        place = (at[0], at[1] + n * int(size * 1.4))
        draw.text(place, line, colour, font, stroke_width=outline, stroke_fill="black" if outline else None)
    return np.asarray(image)


def plain(width, height, colour=(255, 255, 255)):
    return np.full((height, width, 3), colour, np.uint8)


def words(chance, count):
    return " ".join(chance.sample(WORDS, count))


KINDS = {
    "one line": lambda r: write(plain(1080, 1080), [words(r, 6)], (80, 500), 40),
    "one line, white on dark": lambda r: write(plain(1080, 1080, (20, 20, 40)), [words(r, 6)], (80, 500), 44, (230, 230, 210)),
    "one line, upright": lambda r: np.rot90(write(plain(1080, 1080), [words(r, 6)], (80, 500), 40)).copy(),
    "title card": lambda r: write(plain(1280, 720), [words(r, 2)], (200, 300), 90),
    "banner": lambda r: write(plain(600, 200), [words(r, 3)], (20, 80), 40),
    "one word": lambda r: write(plain(500, 500), [words(r, 1) + words(r, 1)], (30, 220), 60),
    "pale": lambda r: write(plain(1000, 600), [words(r, 5)], (60, 280), 46, (165, 165, 165)),
    "small": lambda r: write(plain(200, 200), [words(r, 2)], (10, 90), 22),
    "numbers": lambda r: write(plain(800, 400), [f"{r.randrange(10**5)} {r.randrange(10**5)}"], (100, 160), 70),
    "quote": lambda r: write(plain(1080, 1080), [words(r, 5) for _ in range(4)], (80, 380), 48),
    "meme": lambda r: write(
        write(picture(1, (480, 640)), [words(r, 2).upper()], (120, 20), 60, "white", 3),
        [words(r, 2).upper()],
        (120, 400),
        60,
        "white",
        3,
    ),
    "bar below a picture": lambda r: write(
        np.concatenate([picture(2, (480, 640)), plain(640, 64)]), [words(r, 4)], (16, 488), 36
    ),
}


def drawn(kind, count):
    """So many pictures of a kind, all different."""
    chance, found = random.Random(kind), {}
    while len(found) < count:
        found.setdefault((p := KINDS[kind](chance)).tobytes(), p)
    return list(found.values())


@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_other_words_are_another_picture(kind, crops):
    """One pair in hundreds still passes, where most letters happen to agree."""
    assert len(edges(NearDedup(crops=crops).select(pool(drawn(kind, MANY))))) <= 1


@pytest.mark.parametrize("edit", ["resize", "jpeg", "mirror", "brightness", "crop 10 %"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_words_are_the_same_picture(kind, edit):
    pictures = drawn(kind, 3)
    change = {
        "resize": lambda p: cv2.resize(p, (p.shape[1] * 2 // 3, p.shape[0] * 2 // 3), interpolation=cv2.INTER_AREA),
        "crop 10 %": lambda p: p[p.shape[0] // 20 : -p.shape[0] // 20, p.shape[1] // 20 : -p.shape[1] // 20],
    }.get(edit, EDITS[edit])
    found = edges(NearDedup(by=("original",)).select(pool([*pictures, change(pictures[0])], original=[1, 1, 1, 0])))
    assert dict(zip(found["id"].to_pylist(), found["survivor"].to_pylist()))[3] == 0


def test_without_fine_structure_words_are_grey_bars():
    """What the comparison of fine structure is for."""
    assert len(edges(NearDedup(min_fine=-2).select(pool(drawn("one line", MANY))))) > MANY // 3


def test_fine_structure_is_kept_in_fifteen_steps():
    checks = np.kron(np.indices((FINE, FINE)).sum(axis=0) % 2, np.ones((2, 2)))[..., None].repeat(3, axis=2)
    levels = unpacked(fine((118 + 20 * checks).astype(np.uint8)).ravel())
    assert levels.shape == (FINE, FINE) and set(np.abs(levels[8:-8, 8:-8]).round(1).ravel()) == {np.float32(11.8)}
    assert (np.sign(levels[10, 10:20:2]) == -np.sign(levels[10, 11:21:2])).all()
    assert not unpacked(fine(plain(100, 100)).ravel()).any() and len(FINE_LEVELS) == 16


def test_stripes_along_a_side_are_no_fine_structure():
    """A line of text as such: a band of grey."""
    striped = plain(640, 640)
    striped[40::80] = striped[41::80] = 0
    assert np.abs(unpacked(fine(striped).ravel())).max() < 2


@pytest.mark.parametrize(("shift", "same"), [(0, True), (1, True), (6, False)])
def test_a_crop_is_looked_for_nearby(shift, same):
    noise = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (FINE, FINE), np.uint8), (320, 320), interpolation=cv2.INTER_CUBIC
    )
    noise = noise[..., None].repeat(3, axis=2)
    whole, moved = fine(noise), fine(np.roll(noise, 4 * shift, axis=1))
    row, plainly = np.zeros(1, np.int64), np.zeros(1, bool)
    assert agree(whole.reshape(1, -1), moved.reshape(1, -1), row, row, 0, plainly, 0.5).tolist() == [same]
    view = len(VIEWS) - len(CROPS) + 12
    top, bottom, left, right = (round(320 * edge) for edge in VIEWS[view][1])
    off = min(3 * shift, left)
    cut = fine(np.ascontiguousarray(noise[top:bottom, left - off : right - off]))
    assert agree(whole.reshape(1, -1), cut.reshape(1, -1), row, row, view, plainly, 0.5).tolist() == [True]
