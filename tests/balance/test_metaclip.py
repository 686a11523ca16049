import math

import numpy as np
import pytest

from curate.balance import metaclip
from curate.balance.metaclip import Balance, t_for_tail, tail_share
from curate.errors import RecipeError
from curate.selector import coin
from tests.dedup.pool import in_chunks, live, rows, uid

TEXTS = ["a cat"] * 60 + ["a rare owl"] * 2 + ["nothing here"] * 5 + [None] + ["cat owl"] * 4


def columns(chosen):
    return rows(chosen.columns)


def test_exact_expected_counts():
    chosen = Balance(entries=["cat", "owl"], t=8).select(live(text=TEXTS))
    cat, owl = 8 / 64, 1.0  # cat is on 64 captions, owl on 6
    assert np.allclose(
        columns(chosen)["balance_probability"], [cat] * 60 + [owl] * 2 + [0] * 6 + [1 - (1 - cat) * (1 - owl)] * 4
    )
    assert columns(chosen)["balance_matches"] == [1] * 62 + [0] * 6 + [2] * 4
    assert chosen.notes["expected_kept"] == pytest.approx(60 * cat + 6)
    stay = np.setdiff1d(np.arange(len(TEXTS)), chosen.dropped())
    after = [sum(word in TEXTS[i] for i in stay) for word in ("cat", "owl")]
    assert chosen.notes["lists"]["all"] | {"entries_hash": ""} == {
        "ranked": [
            {"rank": 1, "entry": "cat", "before": 64, "after": after[0]},
            {"rank": 2, "entry": "owl", "before": 6, "after": after[1]},
        ],
        "t": 8,
        "tail_share": 6 / 70,
        "matches": 70,
        "entries": 2,
        "entries_hash": "",
        "entries_matched": 2,
        "entries_above_t": 1,
    }


def test_the_coin_decides_and_only_the_coin():
    chosen = Balance(entries=["cat", "owl"], t=8, seed=3).select(live(text=TEXTS))
    tossed = coin([uid(i) for i in range(len(TEXTS))], 3, "balance")
    kept = tossed < np.array(columns(chosen)["balance_probability"])
    assert list(chosen.dropped()) == list(np.flatnonzero(~kept))


def test_captions_without_a_match_fall():
    assert set(range(62, 68)) <= set(Balance(entries=["cat", "owl"], t=100).select(live(text=TEXTS)).dropped())


def test_kept_matches_the_expectation():
    texts = ["x y"] * 20_000
    chosen = Balance(entries=["x", "y"], t=5_000).select(live(text=texts))
    p = 1 - (1 - 0.25) ** 2
    assert abs(chosen.notes["kept"] - 20_000 * p) < 4 * math.sqrt(20_000 * p * (1 - p))


@pytest.mark.parametrize("chunks", [1, 7, 36])
def test_the_same_for_any_chunks(chunks, tmp_path):
    whole = Balance(entries=["cat", "owl"], t=8).select(live(text=TEXTS))
    cut = Balance(entries=["cat", "owl"], t=8).select(in_chunks(live(text=TEXTS), chunks, str(tmp_path)))
    assert list(cut.dropped()) == list(whole.dropped())
    assert columns(cut) == columns(whole) and cut.notes == whole.notes


def test_the_order_of_the_rows_decides_nothing():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    plain = set(Balance(entries=["cat", "owl"], t=8).select(live(text=TEXTS)).dropped())
    mixed = Balance(entries=["cat", "owl"], t=8).select(live(text=[TEXTS[i] for i in order], uid=[uid(i) for i in order]))
    assert {int(order[i]) for i in mixed.dropped()} == plain


@pytest.mark.parametrize("target", [10, 30, 65.5, 1000])
def test_t_from_a_target_size(target):
    notes = Balance(entries=["cat", "owl"], target=target).select(live(text=TEXTS)).notes
    assert notes["expected_kept"] == pytest.approx(min(target, 66), abs=0.5)


def test_t_from_a_tail_share():
    counts = np.array([0, 5, 1, 94])
    assert t_for_tail(counts, 0.06) == 6 and tail_share(counts, 6) == 0.06
    notes = Balance(entries=["cat", "owl"], tail=0.05).select(live(text=TEXTS)).notes
    assert notes["lists"]["all"]["t"] == 7 and notes["lists"]["all"]["tail_share"] >= 0.05


def test_several_languages_each_with_its_own_t():
    texts = ["a cat"] * 20 + ["rare"] + ["ein Hund"] * 10 + ["selten"] + ["一只猫"] * 3 + ["un chat"]
    lang = ["en"] * 21 + ["de"] * 11 + ["zh"] * 3 + ["fr"]
    entries = {"en": ["cat", "rare"], "de": ["Hund", "selten"], "zh": ["猫"]}
    chosen = Balance(entries=entries, language="lang", t=4, base="en").select(live(text=texts, lang=lang))
    lists = chosen.notes["lists"]
    assert lists["en"]["t"] == 4 and lists["en"]["tail_share"] == 1 / 21
    assert lists["de"]["t"] == 2 and lists["zh"]["matches"] == 3
    assert 35 in chosen.dropped() and 20 not in chosen.dropped() and 31 not in chosen.dropped()
    assert len(columns(chosen)["id"]) == 35


def test_wrong_parameters_are_refused():
    for wrong in ({"t": 1, "tail": 0.1}, {"language": "lang"}, {"entries": {"en": ["a"]}}):
        with pytest.raises(RecipeError):
            Balance(**{"entries": ["a"], **wrong})
    with pytest.raises(RecipeError):
        Balance(entries={"en": ["a"]}, language="lang", base="fr", t=1)


def test_the_entries_are_part_of_the_identity(tmp_path):
    listed = tmp_path / "entries.txt"
    listed.write_text("cat\n")
    before = Balance(entries=str(listed)).identity()
    listed.write_text("dog\n")
    assert Balance(entries=str(listed)).identity() != before


def test_an_empty_pool():
    chosen = Balance(entries=["cat"]).select(live(text=[]))
    assert len(chosen.dropped()) == 0 and chosen.notes["kept"] == 0


@pytest.mark.parametrize(("beta", "target"), [(700, 200.0), (700, 400.0), (900, 600.0)])
def test_t_from_a_target_does_not_depend_on_the_chunks(beta, target, tmp_path):
    texts = np.random.default_rng(0).permutation(["alpha"] * 1600 + ["beta"] * beta).tolist()
    pools = [live(text=texts), *(in_chunks(live(text=texts), n, str(tmp_path / str(n))) for n in (3, 7))]
    found = [Balance(["alpha", "beta"], target=target).select(p).notes for p in pools]
    assert all(notes == found[0] for notes in found)


def test_sums_of_probabilities_may_outgrow_64_bits(monkeypatch, tmp_path):
    """As those of 10^10 rows do: here a probability of 1 is a larger number instead."""
    monkeypatch.setattr(metaclip, "_UNIT", 2**62)
    for parameters in ({"t": 100}, {"target": 10}):
        assert (
            Balance(["cat"], **parameters)
            .select(in_chunks(live(text=["a cat"] * 10), 10, str(tmp_path / str(parameters))))
            .notes["expected_kept"]
            == 10
        )


def test_words_of_the_captions_as_entries_do_not_depend_on_the_chunks(tmp_path):
    texts = ["a cat , a cat"] * 6 + ["a dog"] * 3 + ["an owl"] + [None]
    pools = [live(text=texts), in_chunks(live(text=texts), 3, str(tmp_path))]
    found = [Balance(words=3, t=3).select(p) for p in pools]
    listed = found[0].notes["lists"]["all"]["ranked"]
    # In how many captions, not how often; of dog (3) and none after it; an and owl are beyond the three.
    assert [(e["entry"], e["before"]) for e in listed] == [("a", 9), ("cat", 6), ("dog", 3)]
    assert found[0].notes == found[1].notes and found[0].dropped().tolist() == found[1].dropped().tolist()
    assert {9, 10} <= set(found[0].dropped().tolist())
    with pytest.raises(RecipeError, match="give one of the two"):
        Balance(entries=["cat"], words=3)
