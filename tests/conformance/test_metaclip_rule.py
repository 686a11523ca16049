"""MetaCLIP's matching and balance against an oracle written from its code (metaclip1/substr_matching.py, metaclip1/balancing.py; arXiv
2309.16671), on made captions with marks, repeats and counts on the bound."""

import random

import pytest

from curate.balance.metaclip import Balance
from curate.selector import coin
from tests.dedup.pool import live, rows, uid

ENTRIES = ["cat", "black cat", "owl", "new york", "river", "mill", "it's", "Cat", "cat .", "rare"]


def matched(text: str) -> list[str]:
    found = f" {text} "
    for mark in ",.;:?!`":
        found = found.replace(mark, f" {mark} ")
    for blank in "\t\n\r":
        found = found.replace(blank, " ")
    return [e for e in ENTRIES if f" {e} " in found]


def captions() -> list[str]:
    rng = random.Random(1)
    words = [*ENTRIES[:8], "cats", "a", "of", "black  cat", "it's.", "owl,river", "black\tcat", "(mill)", "cat.", "new\nyork"]
    return [" ".join(rng.choices(words, [9] + [3] * 17, k=rng.randint(1, 4))) for _ in range(500)] + [
        "",
        "a rare one",
        "cat`rare",
    ]


@pytest.mark.parametrize("t", [2, 40, 100])
def test_probabilities_counts_and_survivors_are_those_of_its_code(t):
    texts = captions()
    counts = {e: sum(e in matched(text) for text in texts) for e in ENTRIES}
    assert min(counts.values()) <= 2 < 100 < max(counts.values())
    chance = {e: t / max(n, t) for e, n in counts.items()}
    # Its code draws for each matched entry in turn: a text falls if no draw keeps it.
    expected = []
    for text in texts:
        lost = 1.0
        for entry in matched(text):
            lost *= 1 - chance[entry]
        expected.append(1 - lost)
    found = Balance(entries=ENTRIES, t=t).select(live(text=texts))
    columns = rows(found.columns)
    assert columns["balance_matches"] == [len(matched(text)) for text in texts]
    assert columns["balance_probability"] == pytest.approx(expected, abs=1e-9)
    tossed = coin([uid(i) for i in range(len(texts))], 0, "balance")
    assert sorted(found.dropped().tolist()) == [i for i, p in enumerate(expected) if not tossed[i] < p]


def test_an_entry_on_the_bound_keeps_all_its_captions():
    texts = ["owl"] * 20 + ["cat"] * 21
    columns = rows(Balance(entries=["owl", "cat"], t=20).select(live(text=texts)).columns)
    assert columns["balance_probability"][:20] == [1.0] * 20 and columns["balance_probability"][20] == pytest.approx(20 / 21)
