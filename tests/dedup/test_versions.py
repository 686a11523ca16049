import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.decontaminate import imagenet
from curate.dedup.evaluation import Decontaminate
from curate.dedup.phash import SIGNATURE
from curate.dedup.similarity import toned
from curate.dedup.versions import versions
from tests.dedup.test_near import picture, pool

EDITS = {
    "ImageNet's centre crop": imagenet,
    "CLIP's centre crop": lambda p: imagenet(p, 224),
    "greyscale": lambda p: p.convert("L").convert("RGB"),
    "greyscale, mirrored": lambda p: ImageOps.mirror(p.convert("L").convert("RGB")),
    "contrast x 1.3": lambda p: ImageEnhance.Contrast(p).enhance(1.3),
    "contrast x 0.7": lambda p: ImageEnhance.Contrast(p).enhance(0.7),
    "saturation x 1.4": lambda p: ImageEnhance.Color(p).enhance(1.4),
    "letterbox": lambda p: ImageOps.pad(p, (max(p.size),) * 2, color="black"),
    "white border": lambda p: ImageOps.expand(p, int(min(p.size) * 0.08), "white"),
    "rotated 1.5 degrees": lambda p: p.rotate(1.5, Image.Resampling.BILINEAR),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_evaluation_picture_is_found(tmp_path, edit):
    scenes = [picture(seed, (300, 420)) for seed in range(30, 34)]
    for n, scene in enumerate(scenes):
        Image.fromarray(scene).save(tmp_path / f"{n}.png")
    edited = [np.asarray(EDITS[edit](Image.fromarray(scene))) for scene in scenes]
    rows = pool([*edited, *(picture(seed, (300, 420)) for seed in range(40, 60))], text=["x"] * 24)
    found = Decontaminate({"set": str(tmp_path)}).select(rows).columns.table().sort_by("id")
    assert found["id"].to_pylist() == [0, 1, 2, 3]
    assert found["decontaminate_match"].to_pylist() == [f"set: {n}.png" for n in range(4)]


def test_versions_of_a_square_are_no_copies_of_it():
    square = picture(1, (200, 200))
    made = list(versions(square))
    assert len(made) == 1 + 3 + 4 and not any(m.shape == square.shape and (m == square).all() for m in made)
    assert len(list(versions(picture(1, (200, 320))))) == 2 + 3 + 2 + 4


def test_versions_of_one_pixel():
    assert all(min(v.shape[:2]) >= 1 for v in versions(np.zeros((1, 1, 3), np.uint8)))


def test_toned_forgets_colour_and_contrast_and_nothing_else():
    rows = np.random.default_rng(0).integers(60, 180, (3, SIGNATURE), dtype=np.uint8)
    grey = rows.copy()
    pixels = grey[:, :3072].reshape(3, -1, 3)
    pixels[...] = pixels[..., :1]
    fainter = grey.copy()
    fainter[:, :3072] = 40 + grey[:, :3072] // 2
    assert np.abs(toned(fainter)[:, :3072].astype(int) - toned(grey)[:, :3072]).max() <= 4
    assert (toned(rows)[:, 3072:] == rows[:, 3072:]).all() and (toned(rows)[0] != toned(rows)[1]).any()
