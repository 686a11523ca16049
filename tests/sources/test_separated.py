"""Records of CSV and TSV, as writers make them and as people do."""

import csv
import io
import random

import pytest

from curate.sources import separated
from curate.sources.separated import Records

NEWLINES = [
    # (what it is, TSV with a header of two columns, its records)
    ("a quoted newline in the last cell", 'u\t"a dog\nin the park"\n', [["u", "a dog\nin the park"]]),
    ("in the first", '"u\nv"\tt\nw\tx\n', [["u\nv", "t"], ["w", "x"]]),
    ("a quoted tab and quote", 'u\t"a\t""b"""\n', [["u", 'a\t"b"']]),
    ("of many lines", 'u\t"' + "x\n" * 50 + '"\nv\tw\n', [["u", "x\n" * 50], ["v", "w"]]),
    ("a stray quote", 'u\t"begin\nv\tend\n', [["u", '"begin'], ["v", "end"]]),
    ("two stray quotes on lines that are records", 'u\t"begin\nv\tend"\n', [["u", '"begin'], ["v", 'end"']]),
    ("a word in quotes at the beginning", 'u\t"Oh" he said\n', [["u", '"Oh" he said']]),
    ("a quote inside", 'u\ta 5" disk\n', [["u", 'a 5" disk']]),
    ("a stray quote, then a quoted newline", 'u\t"begin\nv\t"two\nlines"\n', [["u", '"begin'], ["v", "two\nlines"]]),
    ("too few and too many cells", "u\nv\tw\tx\ny\tz\n", [None, None, ["y", "z"]]),
    ("blank lines, Windows' ends", "u\tv\r\n\r\n\nw\tx", [["u", "v"], ["w", "x"]]),
    ("an empty quoted cell", 'u\t""\n""\tv\n', [["u", ""], ["", "v"]]),
    ("a quote that nobody closes at the end", 'u\tv\nw\t"x', [["u", "v"], ["w", '"x']]),
    ("only a quote", 'u\t"\nv\tw\n', [["u", '"'], ["v", "w"]]),
]


def records(text: str, tabs: bool) -> list:
    lines = iter(io.StringIO("a\tb\n" + text if tabs else "a,b\n" + text, newline=""))
    return list(Records(lines, tabs))[1:]


@pytest.mark.parametrize(("text", "wanted"), [case[1:] for case in NEWLINES], ids=[case[0] for case in NEWLINES])
def test_tsv_is_read_as_its_writers_meant_it(text, wanted):
    assert records(text, True) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('u,"a dog\nin the park"\n', [["u", "a dog\nin the park"]]),
        ('u,"open\nv,w\nx,y\n', [None, ["v", "w"], ["x", "y"]]),
        ('u,"open\n' + "v,w\n" * 150 + 'x,"y"\n', [None, *[["v", "w"]] * 150, ["x", "y"]]),
        ('u,a "b" c\nv,"b" c\n', [["u", 'a "b" c'], ["v", "b c"]]),
        ("u\nv,w,x\ny,z\n", [None, None, ["y", "z"]]),
    ],
)
def test_csv_too_and_a_quote_that_nobody_closes_costs_its_line(text, wanted):
    assert records(text, False) == wanted


@pytest.mark.parametrize("tabs", [False, True])
def test_what_a_writer_wrote_comes_back(tabs):
    """Python's writer quotes as pandas', Postgres' and Google's do."""
    chance = random.Random(0)
    letters = ["a", "b", '"', "\t", ",", "\n", "\r\n", " ", "ü", '""', "'", "\\"]
    rows = [["".join(chance.choices(letters, k=chance.randrange(6))) for _ in range(3)] for _ in range(2000)]
    rows = [r for r in rows if any(r)]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter="\t" if tabs else ",", lineterminator="\n").writerows([["a", "b", "c"], *rows])
    found = list(Records(iter(io.StringIO(out.getvalue(), newline="")), tabs))[1:]
    there = set(map(tuple, filter(None, found)))
    # In TSV a few stay lines, each of which is a record by itself; there are none in CSV.
    assert sum(tuple(r) not in there for r in rows) <= (0.01 * len(rows) if tabs else 0)


@pytest.fixture
def csv_limit():
    """The process's limit of a field, which Records sets, as it was."""
    before = csv.field_size_limit()
    yield
    csv.field_size_limit(before)


def test_fields_of_any_length_and_lines_that_are_no_rows(monkeypatch, csv_limit):
    long = "z " * 70_000
    assert records(f'u,{long}\nv,"{long}\n3.png,part of a caption\nend"\nw,x\n', False) == [
        ["u", long],
        ["v", f"{long}\n3.png,part of a caption\nend"],
        ["w", "x"],
    ]
    monkeypatch.setattr(separated, "LONGEST_LINE", 100)
    lines = iter(["a,b\n", None, 'u,"' + "x" * 60 + "\n", "y" * 60 + '"\n', "v,w\n"])
    assert list(Records(lines, False)) == [["a", "b"], None, None, None, ["v", "w"]]
