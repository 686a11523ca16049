"""Mixing and choosing: realised shares, the same cut for both, nothing overwritten, nothing that depends on order."""

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.schema import uid
from curate.synth.choose import CapFilt, CaptionRepeats, Mix, RawElseSynthetic
from tests.dedup.pool import one_chunk
from tests.dedup.pool import rows as by_id

N = 100_000


def rows(n, **columns):
    return pa.table({"uid": [uid("t", str(i)) for i in range(n)], **columns})


def shares(table):
    return {c["values"]: c["counts"] / len(table) for c in table["chosen_origin"].value_counts().to_pylist()}


def test_realised_mix_is_within_half_a_point():
    stage = Mix({"raw": 0.5, "coca": 0.3, "fused": 0.2})
    live = rows(N, text=["r"] * N, caption_coca=["c"] * N, caption_fused=["f"] * N)
    found = stage.run(live)
    assert len(found) == N
    assert all(abs(shares(found)[k] - s) < 0.005 for k, s in stage.shares.items())
    assert stage.run(live) == found
    assert stage.run(live.slice(777, 50)) == found.slice(777, 50)
    assert stage.run(live) != Mix(stage.shares, seed=1).run(live)
    assert {"raw": "r", "coca": "c", "fused": "f"}[found["chosen_origin"][5].as_py()] == found["chosen_text"][5].as_py()


def test_a_variant_that_is_not_there_leaves_its_share_to_the_others():
    found = Mix({"raw": 0.5, "a": 0.5}, checked=("a",)).run(
        rows(4, text=["r", None, " ", "r"], caption_a=["a", "a", "a", "a"], caption_a_faults=[["short"], [], ["long"], None])
    )
    assert found["chosen_origin"].to_pylist() == ["raw", "a", None, "raw"]
    assert [tuple(p.values()) for p in found["chosen_probability"].to_pylist()] == [(1, 0), (0, 1), (0, 0), (1, 0)]


def test_a_written_text_that_fits_worse_than_the_raw_one_is_not_drawn():
    stage = Mix({"raw": 0.0001, "a": 0.9999}, no_worse=True)
    found = stage.run(
        rows(
            5,
            text=["r"] * 5,
            caption_a=["a"] * 5,
            clip_score=pa.array([0.3, 0.3, 0.3, None, None], pa.float32()),
            caption_a_score=pa.array([0.2, 0.3, None, 0.1, None], pa.float32()),
        )
    )
    assert found["chosen_origin"].to_pylist() == ["raw", "a", "raw", "a", "raw"]


def test_capfilt_judges_both_by_the_same_cut():
    stage = CapFilt({"raw": 1, "blip": 1}, min=0.3)
    live = rows(
        4,
        text=["r"] * 4,
        caption_blip=["s"] * 4,
        clip_score=pa.array([0.4, 0.2, 0.2, None], pa.float32()),
        caption_blip_score=pa.array([0.1, 0.3125, 0.1, 0.5], pa.float32()),
    )
    found = stage.run(live)
    assert found["chosen_origin"].to_pylist() == ["raw", "blip", None, "blip"]
    assert stage.judge(found).to_pylist() == [None, None, "cap_filt", None]
    with pytest.raises(RecipeError, match="without min"):
        CapFilt({"raw": 1})


@pytest.mark.parametrize("shares_", [{}, {"raw": 0}, {"raw": -1, "a": 2}])
def test_shares_that_make_no_sense_are_refused(shares_):
    with pytest.raises(RecipeError):
        Mix(shares_)


def live_of(table):
    return one_chunk(table.append_column("id", pa.array(range(len(table)))))


def test_nguyen_the_best_stay_raw_the_rest_pass_the_same_cut():
    rng = np.random.default_rng(0)
    raw, made = (rng.random(1000).astype(np.float32) for _ in range(2))
    raw[5], made[6] = np.nan, np.nan
    table = rows(
        1000,
        text=[f"r{i}" for i in range(1000)],
        caption_b=[f"s{i}" for i in range(1000)],
        clip_score=raw,
        caption_b_score=made,
    )
    found = RawElseSynthetic("b", fraction=0.3).select(live_of(table))
    cut = np.sort(raw[~np.isnan(raw)])[::-1][300]
    expected = [None if not (r >= cut or m >= cut) else "raw" if r >= cut else "b" for r, m in zip(raw, made)]
    assert by_id(found.columns)["chosen_origin"] == expected
    assert found.notes["cut"] == pytest.approx(float(cut)) and expected.count("raw") == 301
    assert found.dropped().tolist() == [i for i, e in enumerate(expected) if e is None]
    texts = by_id(found.columns)["chosen_text"]
    assert all(
        t == (None if e is None else f"{'r' if e == 'raw' else 's'}{i}") for i, (t, e) in enumerate(zip(texts, expected))
    )


def test_nguyen_takes_no_blank_text_and_keeps_all_when_few_have_a_score():
    table = rows(
        4,
        text=["\n", " \u00a0\u3000\x1c", "r", None],
        caption_b=["s", None, "s", "\t"],
        clip_score=pa.array([0.5, 0.5, 0.1, None], pa.float32()),
        caption_b_score=pa.array([0.5] * 4, pa.float32()),
    )
    found = RawElseSynthetic("b", fraction=0.9).select(live_of(table))
    assert by_id(found.columns)["chosen_origin"] == ["b", None, "raw", None] and found.notes["cut"] is None


def test_a_part_without_rows_is_drawn_from():
    empty = rows(0, text=[], caption_a=[], caption_a_faults=[], clip_score=[], caption_a_score=[])
    empty = empty.cast(
        pa.schema(
            [(f.name, {"clip_score": pa.float32(), "caption_a_score": pa.float32()}.get(f.name, f.type)) for f in empty.schema]
        )
    )
    assert len(Mix({"raw": 1, "a": 1}, min=0.3, checked=("a",)).run(empty)) == 0


def test_nguyen_passes_over_faults_and_takes_a_cut_of_ones_own():
    table = rows(
        3,
        text=["r"] * 3,
        caption_b=["s"] * 3,
        clip_score=[0.5, 0.1, 0.1],
        caption_b_score=[0.9, 0.9, 0.9],
        caption_b_faults=pa.array([[], [], ["short"]], pa.list_(pa.string())),
    )
    found = RawElseSynthetic("b", min=0.3, faults=True).select(live_of(table))
    assert by_id(found.columns)["chosen_origin"] == ["raw", "b", None] and found.dropped().tolist() == [2]


def test_repeats_are_counted_over_the_pool_and_drop_nothing():
    table = rows(5, caption_a=["A  dog", "a dog ", "a cat", None, "a dog"])
    found = CaptionRepeats("caption_a", max=2).select(live_of(table))
    assert by_id(found.columns)["caption_a_repeats"] == [3, 3, 1, None, 3]
    assert by_id(found.columns)["caption_a_once"] == [None, None, "a cat", None, None]
    assert len(found.dropped()) == 0 and found.notes["repeated"] == 3
