import io

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.dedup.near import NearDedup
from curate.dedup.phash import CROPS, THUMB, PerceptualHash, hashes, resample
from curate.dedup.similarity import Bounds, similarity
from curate.errors import RecipeError
from tests.dedup.pool import edges, live, uid


def picture(seed, side=(240, 320)):
    """Soft blobs of colour: a picture with a photo's low frequencies."""
    noise = np.random.default_rng(seed).random((8, 8, 3)).astype(np.float32) * 255
    return cv2.resize(noise, side[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


EDITS = {
    "resize": lambda p: cv2.resize(p, (200, 150), interpolation=cv2.INTER_AREA),
    "jpeg": lambda p: jpeg(p, 30),
    "mirror": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "brightness": lambda p: (p * 0.75).astype(np.uint8),
    "clipped": lambda p: (p * 1.3).clip(0, 255).astype(np.uint8),
    "crop 10 %": lambda p: p[12:-12, 16:-16],
    "crop 25 %": lambda p: p[:-60, 40:-40],
    "mirrored crop": lambda p: np.ascontiguousarray(p[12:-12, 16:-16][:, ::-1]),
}


def pool(pictures, **columns):
    columns = {"original_width": [p.shape[1] for p in pictures], "original_height": [p.shape[0] for p in pictures]} | columns
    hashed = PerceptualHash().run(pa.table({"uid": [uid(i) for i in range(len(pictures))]}), pictures)
    return live(**columns, **{n: hashed[n] for n in hashed.column_names})


def bits(a, b):
    return int(a ^ b).bit_count()


def test_hashes_of_the_same_picture_are_close_and_of_others_far():
    p, q = hashes(picture(1)), hashes(picture(2))
    assert bits(p[0], q[0]) > 20
    for edit in ("resize", "jpeg", "brightness"):
        assert bits(p[0], hashes(EDITS[edit](picture(1)))[0]) <= 3
    assert bits(p[-1], hashes(EDITS["mirror"](picture(1)))[0]) <= 1
    centre = next(i for i, c in enumerate(CROPS) if np.allclose(c, (0.05, 0.95, 0.05, 0.95)))
    assert bits(p[3 + centre], hashes(EDITS["crop 10 %"](picture(1)))[0]) <= 3


def test_a_symmetric_picture_does_not_hash_its_noise():
    half = picture(3)[:, :160]
    whole = np.concatenate([half, half[:, ::-1]], axis=1)
    assert max(bits(hashes(whole)[0], hashes(jpeg(whole, q))[0]) for q in (30, 50, 90)) <= 2


def test_nothing_to_see_has_no_hash():
    stored = PerceptualHash().run(pa.table({"uid": ["a"]}), [np.full((50, 50, 3), 200, np.uint8)])
    assert stored["phash"].null_count == stored["phash_views"].null_count == 1
    assert stored["thumbnail"][0].as_py() == bytes([200]) * 3072 + b"\x77" * 3200
    assert stored.schema == pa.schema(list(PerceptualHash().adds().items()))


def test_resample_averages():
    assert np.allclose(resample(0, 1, 4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert np.allclose(resample(0.125, 0.625, 4, 1), [[0.25, 0.5, 0.25, 0]])


@pytest.mark.parametrize("edit", EDITS)
def test_finds_edits_and_nothing_else(edit):
    originals = [picture(s) for s in range(8)]
    chosen = NearDedup(by=("original",)).select(pool([*originals, EDITS[edit](originals[3])], original=[1] * 8 + [0]))
    assert list(chosen.dropped()) == [8] and edges(chosen)["survivor"].to_pylist() == [3]
    assert 0.9 <= edges(chosen)["similarity"][0].as_py() <= 1


def test_crops_are_an_option():
    p = picture(3)
    assert len(NearDedup(crops=False).select(pool([p, EDITS["crop 25 %"](p)])).dropped()) == 0


def test_mirroring_is_an_option():
    p = picture(3)
    assert len(NearDedup(mirror=False).select(pool([p, EDITS["mirror"](p)])).dropped()) == 0


def test_a_small_thing_in_another_place_is_another_picture():
    a, b = (np.full((200, 200, 3), 255, np.uint8) for _ in range(2))
    for p, (dx, dy) in ((a, (0, -60)), (b, (60, 0))):  # two clocks, six and three o'clock
        cv2.circle(p, (100, 100), 80, (0, 0, 0), 6)
        cv2.line(p, (100, 100), (100 + dx, 100 + dy), (255, 0, 0), 12)
    assert len(NearDedup().select(pool([a, b])).dropped()) == 0


@pytest.mark.parametrize("edit", ["jpeg", "mirror", "crop 10 %"])
def test_a_small_thing_more_is_another_picture(edit):
    """Correlation alone takes one for the other."""
    plain = picture(3)
    marked = plain.copy()
    cv2.circle(marked, (160, 120), 14, (255, 255, 255) if plain[120, 160].mean() < 128 else (0, 0, 0), -1)
    fell = [
        len(NearDedup(tolerance=most, min_fine=-2).select(pool([plain, EDITS[edit](marked)])).dropped()) for most in (1, 99)
    ]
    assert fell == [0, 1]
    assert len(NearDedup().select(pool([marked, EDITS[edit](marked)])).dropped()) == 1


def test_a_fainter_drawing_is_another_picture():
    """Brightness is a factor: white stays white, so that a drawing in greys is not the same one in black."""
    rng, strong = np.random.default_rng(1), np.full((240, 240, 3), 255, np.uint8)
    for x, y, r in rng.integers((20, 20, 5), (220, 220, 22), (30, 3)).tolist():
        cv2.circle(strong, (x, y), r, rng.integers(0, 120, 3).tolist(), -1)
    faint = (255 - (255 - strong.astype(float)) * 0.5).astype(np.uint8)
    dark = (strong * 0.6).astype(np.uint8)
    assert len(NearDedup().select(pool([strong, faint])).dropped()) == 0
    assert len(NearDedup().select(pool([strong, dark])).dropped()) == 1


@pytest.mark.parametrize(("shade", "same"), [(200, True), (206, True), (213, False)])
def test_where_there_is_little_to_see_little_may_differ(shade, same):
    """13 levels are below the bound for all pictures, and above that for one whose contrast is 30."""
    one, other = (np.full((THUMB, THUMB, 3), 230, np.uint8) for _ in range(2))
    one[10:16, 10:16], other[10:16, 10:16] = 200, shade
    first, second = one.reshape(1, -1), other.reshape(1, -1)
    row = np.zeros(1, np.int64)
    found = similarity(first, second, row, row, 0, np.zeros(1, bool), Bounds(7, 0.95, 0.93, 1.0, fine=-2))
    assert (found > 0).tolist() == [same]


def test_colours_spoilt_by_jpeg_are_forgiven():
    rng = np.random.default_rng(4)
    icon = np.kron(rng.integers(0, 256, (10, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    assert len(NearDedup().select(pool([icon, jpeg(icon, 30)])).dropped()) == 1


def test_copies_fall_for_one_row_and_order_decides_nothing():
    pictures = [picture(1)] * 5 + [EDITS["mirror"](picture(1)), picture(2)]
    chosen = NearDedup().select(pool(pictures))
    best = min(range(6), key=uid)
    assert set(chosen.dropped()) == set(range(6)) - {best} and set(edges(chosen)["survivor"].to_pylist()) == {best}
    mixed = [4, 6, 0, 5, 2, 1, 3]
    again = NearDedup().select(pool([pictures[i] for i in mixed], uid=[uid(i) for i in mixed]))
    assert {mixed[i] for i in again.dropped()} == set(chosen.dropped())


def test_what_a_task_has_in_memory_moves_nothing(monkeypatch):
    """A picture and its crop, and the other way round, may both match: the similarity told must not hang on who is asked with whom."""
    pictures = [e for s in range(6) for e in (picture(s), EDITS["crop 10 %"](picture(s)), EDITS["clipped"](picture(s)))]
    outcome = []
    for most, block in ((1 << 22, 64), (3, 64), (1 << 22, 2)):
        monkeypatch.setattr("curate.dedup.matching._BATCH_PAIRS", most)
        monkeypatch.setattr("curate.dedup.matching._BLOCK", block)
        outcome.append(edges(NearDedup().select(pool(pictures))))
    assert outcome[0] == outcome[1] == outcome[2] and len(outcome[0]) >= 6


def test_in_a_crowd_few_pairs_are_looked_at_and_the_outcome_is_that_of_all_pairs(monkeypatch):
    big, rng = picture(7, (300, 400)), np.random.default_rng(0)
    cuts = [(y, x, 260 - s, 340 - s) for y, x, s in rng.integers(0, 40, (180, 3)).tolist()]
    windows = pool([big[y : y + h, x : x + w] for y, x, h, w in cuts])
    looked, outcome = [], []

    def counted(first, second, one, *rest):
        looked[-1] += len(one)
        return similarity(first, second, one, *rest)

    monkeypatch.setattr("curate.dedup.matching.similarity", counted)
    for block, most in ((1024, 1 << 22), (16, 1 << 22), (16, 200)):
        monkeypatch.setattr("curate.dedup.matching._BLOCK", block)
        monkeypatch.setattr("curate.dedup.matching._BATCH_PAIRS", most)
        looked.append(0)
        outcome.append(edges(NearDedup().select(windows)))
    assert all(found == outcome[0] for found in outcome) and 90 < len(outcome[0]) < 180
    assert looked[1] < 0.7 * looked[0], looked


@pytest.mark.parametrize("crops", [False, True])
def test_bands_find_nearly_all_that_comparing_all_does_and_estimate_what_they_miss(monkeypatch, crops):
    rng = np.random.default_rng(0)
    pictures = [picture(s, (64, 80)) for s in range(60)]
    pictures += [jpeg(pictures[i], int(rng.integers(5, 40))) for i in range(60)] + [
        EDITS["crop 10 %"](p) for p in pictures[:20]
    ]
    selector = NearDedup(crops=crops, by=())
    exact = selector.select(pool(pictures))
    monkeypatch.setattr("curate.dedup.near.EXACT", 0)
    banded = selector.select(pool(pictures))
    fell = set(exact.dropped())
    assert "recall" not in exact.notes and 0.8 <= banded.notes["recall"] <= 1
    assert len(fell & set(banded.dropped())) >= 0.9 * len(fell) >= 40 and not set(banded.dropped()) - fell


def test_agrees_with_comparing_all_with_all():
    rng = np.random.default_rng(0)
    pictures = [picture(s, (64, 80)) for s in range(40)]
    pictures += [jpeg(pictures[i], int(rng.integers(5, 40))) for i in range(40)]
    selector = NearDedup(crops=False, by=(), min_similarity=0.9, tolerance=99, min_fine=-2)
    chosen = selector.select(pool(pictures))
    first = [hashes(p)[[0, -1]] for p in pictures]
    order = sorted(range(80), key=uid)
    fallen = set()
    for n, i in enumerate(order):
        near = [
            j for j in order[:n] if j not in fallen and min(bits(first[i][0], first[j][0]), bits(first[i][0], first[j][1])) <= 7
        ]
        if near:
            fallen.add(i)
    assert set(chosen.dropped()) == fallen and len(fallen) >= 35


def test_wrong_parameters_are_refused():
    with pytest.raises(RecipeError):
        NearDedup(max_distance=16)
    with pytest.raises(RecipeError, match="tolerance"):
        NearDedup(tolerance=0)
