"""A column of a list is never anything but a column of that list, whatever it is called."""

import ast
import json
import tarfile
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import ToyFetch, ToyHalf, ToyScore, ToyWords

import curate
from curate import schema
from curate.filters.redact_contacts import RedactContacts
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.columns import carried
from curate.sources.url_pairs import UrlPairs
from curate.synth.choose import Mix
from curate.upkeep.check import check

PREFIXES = ("", "redacted_", "caption_", "chosen_", "source_", "_")
#: Names that once had a meaning in a list.
MEANT = "payload payload_offset payload_size chosen_text text sha256 mime uid key kept copies drop_reason width shard".split()
COLUMNS = pa.table(
    {
        "url": [f"http://a.example/{i}1.jpg" for i in range(12)],
        "text": [f"a caption of many words, mail me@x{i}.example" for i in range(12)],
    }
)


def written_names() -> list[str]:
    """Every name that a module of ours reads or writes: all short string constants that could name a column."""
    found = {"toy_score", "toy_rank", "toy_fetch"}
    for file in Path(curate.__file__).parent.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        found |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) < 40}
    return sorted(n for n in found if n.replace("_", "a").isidentifier())


def made(folder: Path, columns: dict[str, pa.Array]) -> tuple[dict, dict, list]:
    """What a small run over the list says of its rows, the members of its tars, and what `check` finds."""
    folder.mkdir()
    pq.write_table(pa.table({**{c: COLUMNS[c] for c in COLUMNS.column_names}, **columns}), folder / "list.parquet")
    recipe = Recipe(
        UrlPairs(str(folder / "list.parquet")),
        [ToyWords(min=3), ToyFetch(fails="ok"), ToyScore(min=None)],
        [ToyHalf(min=0.4)],
        [Mix({"raw": 1.0}), RedactContacts(columns=("text", "chosen_text"))],
        shards=Shards(size=4),
        name="x",
    )
    done = run(recipe, str(folder / "run"), engine="local", part_size=5)
    rows = done.sql("from images order by source_row").to_arrow_table().to_pylist()
    members = {}
    for tar in done.tars:
        with tarfile.open(tar) as t:
            members |= {m.name: t.extractfile(m).read() for m in t}
    return rows, members, check(done.store)


def without_carried(row: dict) -> dict:
    """A row of the ledger or of a shard without what the list brought. The name of a payload's folder is that of the input."""
    ours = {k: v for k, v in row.items() if not k.startswith("source_") or k == "source_row"}
    return ours | ({"payload": ours["payload"].split("/")[-1]} if "payload" in ours else {})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain") / "x", {})


@pytest.mark.parametrize("hostile", ["text", "number", "struct"])
def test_a_list_with_every_name_changes_nothing_but_those_columns(tmp_path, plain, hostile):
    names = written_names()
    assert {*MEANT, "fetched_with", "input_digest", "candidates", "doc_uid"} <= set(names)
    cases = (str.lower, str.upper, str.title)
    every = [cases[i % 3](prefix + name) for i, (name, prefix) in enumerate(product(names, PREFIXES))]
    every = [n for n in dict.fromkeys(every) if n not in ("url", "text")]
    chosen = every[("text", "number", "struct").index(hostile) :: len(every) // 120]  # the test below has all of them
    must = [p + n for p in ("", "redacted_") for n in MEANT if p + n != "text"]
    value = {"text": "EVIL", "number": 1, "struct": {"uid": "u", "kept": True, "key": "k", "shard": 5}}[hostile]
    column = pa.array([None] * 8 + [value] * 4)
    rows, members, faults = made(tmp_path / "x", dict.fromkeys([*chosen, *must], column))
    assert faults == [] and list(map(without_carried, rows)) == list(map(without_carried, plain[0]))
    assert list(members) == list(plain[1])
    for name, data in members.items():
        if name.endswith(".json"):
            assert without_carried(json.loads(data)) == json.loads(plain[1][name])
        else:
            assert data == plain[1][name]


def test_every_name_is_in_a_name_space_of_its_own():
    ours = {*schema.IMAGES, *schema.FETCHED, *schema.DOCUMENTS, *schema.TEXTS, "source_key"}
    for name, prefix, case in product(written_names(), PREFIXES, (str.lower, str.upper, str.title)):
        (new,) = carried([case(prefix + name)], [c for c in ours if c.startswith("source_")]).values()
        assert new.startswith("source_") and new.casefold() not in ours


def test_columns_that_differ_in_case_or_in_what_no_name_holds_are_still_several():
    names = ["a", "A", "ａ", "a\x00", "a\x01", "", "source_file", "FILE", "row", "k" * 300, "k" * 301, "c\ud800"]
    new = list(carried(names).values())
    assert len({n.casefold() for n in new}) == len(names) and all(n.encode() and len(n) < 120 for n in new)
