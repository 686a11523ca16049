"""Words and pairs are counted as by hand, whatever fits into memory, and the filters take the lists that come of it."""

import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.balance import vocabulary
from curate.balance.entries import ngram_entries, read_entries
from curate.cli import main
from curate.filters.rare_tokens import RareTokens

TEXTS = [
    "A dog, a cat.",
    "the dog of the lake",
    None,
    "",
    "New York! New York; new york",
    "café \u732b\u5728\u7a97\u53f0",
    "the dog of the house",
    "a dog",
]


def words(text: str) -> list[str]:
    return text.lower().split()


@pytest.fixture(params=[2_000_000, 3], ids=["in memory", "put aside"])
def memory(request, monkeypatch):
    monkeypatch.setattr(vocabulary, "IN_MEMORY", request.param)


def test_counts_are_those_of_a_counter(memory):
    singles = Counter(w for t in TEXTS if t for w in words(t))
    doubles = Counter(f"{a} {b}" for t in TEXTS if t for a, b in pairwise(words(t)))
    for bigrams, counts in ((False, singles), (True, singles + doubles)):
        expected = sorted(((w, n) for w, n in counts.items() if n >= 2), key=lambda c: (-c[1], c[0]))
        assert list(vocabulary.frequent(TEXTS, words, 2, bigrams=bigrams)) == expected
        assert list(vocabulary.frequent(TEXTS, words, 2, most=3, bigrams=bigrams)) == expected[:3]
    assert not list(vocabulary.frequent([], words)) and not list(vocabulary.frequent([None, ""], words, 1, bigrams=True))


def test_pairs_that_go_together_are_those_of_the_formula(memory):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), 6, p=[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])) for _ in range(200)]
    singles, doubles = Counter(w for t in texts for w in t.split()), Counter(p for t in texts for p in pairwise(t.split()))
    one, two = singles.total(), doubles.total()
    strong = {
        p for p, n in doubles.items() if n >= 9 and math.log2(n / two * one * one / (singles[p[0]] * singles[p[1]])) >= 0.1
    }
    assert ngram_entries(texts, 9, 0.1) == sorted(w for w, n in singles.items() if n >= 9) + sorted(map(" ".join, strong))
    assert strong and len(strong) < len(doubles)


def run(tmp_path, *argv: str) -> str:
    out = tmp_path / "made"
    assert main(["vocabulary", "-o", str(out), *argv]) == 0
    return out.read_text("utf-8")


def test_the_command_makes_what_the_filter_reads(tmp_path):
    pq.write_table(pa.table({"url": ["u"] * len(TEXTS), "caption": TEXTS}), tmp_path / "list.parquet")
    made = run(tmp_path, "--pairs", str(tmp_path / "list.parquet"), "--text", "caption", "--least", "2", "--bigrams")
    assert made.splitlines()[:4] == ["dog\t4", "a\t3", "new\t3", "new york\t3"] or made.startswith("dog\t4\nthe\t4\n")
    filter = RareTokens(vocabulary=str(tmp_path / "made"), count=2, bigrams=True)
    filter.load()
    found = filter.run(pa.table({"text": pa.array(["The DOG of the", "a lake", "york york"], pa.large_string())}))
    assert found["rare_tokens"].to_pylist() == [0, 2, 1]
    # of text files, one text a line
    (tmp_path / "texts.txt").write_text("\ufeffthe dog\nthe cat\n", "utf-8")
    assert run(tmp_path, "--texts", str(tmp_path / "texts.txt"), "--least", "1", "--most", "2") == "the\t2\ncat\t1\n"


def test_the_command_makes_entries(tmp_path):
    (tmp_path / "texts.txt").write_text("New York, New York\nNew York\nthe dog\n", "utf-8")
    (tmp_path / "titles.txt").write_text("Abbey Road\ndog\n", "utf-8")
    options = ("--texts", str(tmp_path / "texts.txt"), "--entries", "--least", "2", "--pmi", "1.2")
    assert json.loads(run(tmp_path, *options)) == ["New", "York", "New York"]
    assert json.loads(run(tmp_path, *options, "--also", str(tmp_path / "titles.txt")))[3:] == ["Abbey Road", "dog"]
    assert read_entries(str(tmp_path / "made"))[-1] == "dog"


@pytest.mark.parametrize(
    "argv, says",
    [
        ([], "say where the rows come from"),
        (["--texts", "{}/missing.txt"], "missing.txt: No such file"),
        (["--texts", "{}/few.txt"], "no word of the texts occurs 5 times"),
        (["--texts", "{}/few.txt", "--entries", "--most", "3"], "leave --bigrams and --most out"),
        (["--texts", "{}/few.txt", "--also", "{}/few.txt"], "--also adds to --entries"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(argv, says, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("one two\n")
    assert main(["vocabulary", "-o", str(tmp_path / "made"), *(a.format(tmp_path) for a in argv)]) == 2
    assert says in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == ["few.txt"]
    assert main(["vocabulary", "-o", str(tmp_path / "no" / "made"), "--least", "1", "--texts", f"{tmp_path}/few.txt"]) == 2
    assert "cannot be written" in capsys.readouterr().err
