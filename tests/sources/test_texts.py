"""Text corpora: tables and files of documents without pictures, from their lines to sequences of ids."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.cli import main
from curate.errors import RecipeError
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.sources import texts
from curate.sources.texts import Texts
from curate.upkeep.check import check
from tests.documents.page_web import sentence

ROWS = [
    {"text": "A title\n\n  The first line.  \nThe second.\n", "url": "http://a.example/1", "meta": {"set": "x"}},
    {"text": "  \n ", "url": None, "meta": {"set": "y"}},
    {"text": None, "url": None, "meta": None},
    {"text": "One line", "url": None, "meta": {"set": "x"}},
]


def read(source: Texts, size: int = 100) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {"documents": [], "texts": [], "images": []}
    for file in source.files():
        for part in source.read(file, size):
            for name, table in part.items():
                found[name] += table.to_pylist()
    return found


def jsonl(path: Path, rows: list[dict] = ROWS) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


@pytest.mark.parametrize("size", [100, 1])
def test_a_row_is_a_document_and_a_line_a_paragraph(size, tmp_path):
    found = read(Texts(jsonl(tmp_path / "c.jsonl")), size)
    assert [d["drop_reason"] for d in found["documents"]] == [None, "source:no_text", "source:no_text", None]
    assert found["documents"][0]["url"] == "http://a.example/1" and json.loads(found["documents"][0]["source_meta"]) == {
        "set": "x"
    }
    first, _, _, last = (d["uid"] for d in found["documents"])
    assert [(t["doc_uid"], t["position"], t["text"]) for t in found["texts"]] == [
        (first, 0, "A title"),
        (first, 1, "The first line."),
        (first, 2, "The second."),
        (last, 0, "One line"),
    ]
    assert len({t["uid"] for t in found["texts"]}) == 4 and found["images"] == []


def test_columns_are_found_or_named(tmp_path):
    pq.write_table(pa.table({"content": ["A dog"], "note": ["n"], "title": ["T"]}), tmp_path / "a.parquet")
    found = read(Texts(str(tmp_path / "a.parquet")))
    assert found["documents"][0]["title"] == "T" and found["texts"][0]["text"] == "A dog"
    assert read(Texts(str(tmp_path / "a.parquet"), text="note"))["texts"][0]["text"] == "n"
    pq.write_table(pa.table({"words": ["A dog"]}), tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match=r"a\.parquet: no column 'text' .*its columns are: words"):
        read(Texts(str(tmp_path / "a.parquet")))


def test_text_files_are_documents(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("One.\r\nTwo.", encoding="utf-16")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Three."))
    (tmp_path / "c.txt").write_bytes(b"\xff not text")
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"x" * 100)[:20])
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b"x" * (texts.LARGEST + 1)))
    found = read(Texts(str(tmp_path)))
    assert [t["text"] for t in found["texts"]] == ["One.", "Two.", "Three."]
    assert [d["drop_reason"] for d in found["documents"]] == [None, None, *["source:bad_file"] * 3]


def story(n: int) -> str:
    return "\n".join(sentence(10 * n + k, 20 + k) for k in range(6))


def test_a_corpus_becomes_sequences_of_ids(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rows = [{"text": story(n)} for n in range(6)] + [{"text": story(0)}, {"text": story(1) + "."}, {"text": sentence(3)}]
    source = Texts(jsonl(tmp_path / "c.jsonl", rows))
    made = run(load("massive_text").build(source), str(tmp_path / "run"), engine="local", part_size=4)
    reasons = [r for (r,) in made.sql("select drop_reason from documents order by source_row").fetchall()]
    assert sorted(str(r) for r in reasons) == ["None"] * 6 + ["document_words", "exact_dedup", "text_dedup"]
    assert made.dataset["samples"] == 6 and check(made.store) == []
    known = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    known.train_from_iterator([r["text"] for r in rows], trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    known.save(str(tmp_path / "tokenizer.json"))
    out = tmp_path / "kosmos"
    asked = ["export", f"{tmp_path}/run", "--format", "kosmos", "-o", str(out), "--tokenizer", f"{tmp_path}/tokenizer.json"]
    assert main([*asked, "--tokens", "256"]) == 0
    ids = pq.read_table(out / "sequences.parquet")["input_ids"].to_pylist()
    words = sum(len(story(n).split()) for n in range(6))
    assert sum(map(len, ids)) == words + 2 * 6 and not any(out.joinpath("images").iterdir())
