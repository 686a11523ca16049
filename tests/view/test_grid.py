"""curate show: grids, duplicates side by side, documents as pages."""

from hashlib import md5

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pictured import picture, pictured

from curate.cli import main
from curate.errors import RecipeError
from curate.fetch.isolate import Isolated
from curate.selector import coin
from curate.view.grid import shown
from curate.view.run import open_run
from curate.view.samples import Card, cards, groups, pairs, rows_at, samples, small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("grid")).store.url)


def test_a_pair_is_a_dropped_row_beside_the_one_it_fell_for(run):
    (pair,) = pairs(run, "exact_dedup", 10)
    rows = pair.dropped.row, pair.survivor.row
    assert [r["source_key"] for r in rows] in (["00031", "00030"], ["00030", "00031"]) and pair.similarity == 1.0
    assert pair.dropped.row["drop_reason"] == "exact_dedup" and pair.survivor.row["kept"] and pair.dropped.thumbnail


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_pairs_are_the_least_alike_the_others_are_drawn(monkeypatch, seed):
    draw = np.random.default_rng(seed)
    ids = draw.permutation(1000)[: draw.integers(0, 60)].tolist()
    rows = [
        {"step": draw.choice(["a", "b"]), "uid": md5(b"%d" % i).hexdigest(), "id": i, "survivor_id": i + 1}
        | {"survivor": "x", "similarity": float(draw.integers(0, 4)) / 4}
        for i in ids
    ]
    fields = {"step": "string", "uid": "string", "id": "int64", "survivor_id": "int64", "survivor": "string"}
    table = pa.Table.from_pylist(rows, pa.schema([*fields.items(), ("similarity", pa.float32())]))
    con = duckdb.connect()
    con.register("edges", table)
    monkeypatch.setattr("curate.view.samples._pairs", lambda run, edges, child: [e[1] for e in edges])
    coins = dict(zip(ids, coin([r["uid"] for r in rows], 0, "show").tolist()))
    mine = [r for r in rows if r["step"] == "a"]
    drawn = [r["id"] for r in sorted(mine, key=lambda r: (coins[r["id"]], r["id"]))]
    alike = [r["id"] for r in sorted(mine, key=lambda r: (r["similarity"], coins[r["id"]], r["id"]))]
    turns = list(dict.fromkeys(i for two in zip(alike, drawn) for i in two))
    assert [pairs(con, "a", n) for n in (1, 2, 7, 100)] == [turns[:n] for n in (1, 2, 7, 100)]


def test_rows_are_found_by_their_number_in_the_pool(run):
    ids = [(2 << 32) + 3, 5, (1 << 32) + 24]
    assert [r["source_key"] for r in rows_at(run.store, "images", ids)] == ["00053", "00005", "00049"]


def test_samples_are_drawn_by_a_hash_and_have_the_reason_asked_for(run):
    first = [c.row["uid"] for c in samples(run, "caption_words", 5, None)]
    assert first == [c.row["uid"] for c in samples(run, "caption_words", 9, None)][:5] and len(set(first)) == 5
    assert all(c.row["drop_reason"] == "caption_words" for c in samples(run, "caption_words", 5, None))
    assert all(c.row["kept"] and c.row["caption_words"] > 5 for c in samples(run, None, 5, "caption_words > 5"))


def test_kept_is_a_reason_too(run):
    assert [c.row for c in samples(run, "kept", 3, None)] == [c.row for c in samples(run, None, 3, None)]


def test_a_thumbnail_is_made_anew_and_small():
    with Isolated() as child:
        made = small(child, picture(3, 640), 100)
        assert (
            made[:3] == b"\xff\xd8\xff"
            and small(child, b"\x89PNG\r\n\x1a\n" + b"\0" * 40) is None
            and small(child, b"GIF") is None
        )


def test_what_cannot_be_decoded_is_shown_as_such(run):
    (card,) = cards(run.store, [{"payload": None, "payload_offset": None, "payload_size": None}])
    assert card.thumbnail is None


def test_show_writes_pairs_and_grids(run, tmp_path, capsys):
    for reason, word in (("exact_dedup", "kept copy"), ("image_side", "image_side")):
        file = tmp_path / f"{reason}.html"
        assert main(["show", run.store.url, "--reason", reason, "-o", str(file)]) == 0
        assert word in file.read_text() and "data:image/jpeg;base64," in file.read_text()
    assert main(["show", run.store.url, "--where", "nonsense >", "-o", str(tmp_path / "x.html")]) == 2
    assert "is not a condition" in capsys.readouterr().err
    assert main(["show", run.store.url, "--where", "true order by uid", "-o", str(tmp_path / "x.html")]) == 2
    error = capsys.readouterr().err
    assert "is not a condition such as" in error and "--sort" in error and "select" not in error


def test_show_sorts_and_pages(run):
    column = "caption_words"
    first, second = (samples(run, None, 4, None, f"-{column}", page) for page in (1, 2))
    rows = run.sql(f"select uid from images where kept order by {column} desc, uid limit 8").fetchall()
    assert [c.row["uid"] for c in first + second] == [u for (u,) in rows] and samples(run, None, 4, None, column, 99) == []
    with pytest.raises(RecipeError, match="no column nothing to sort by"):
        samples(run, None, 4, None, "nothing")


def test_duplicates_of_one_row_are_one_group(run):
    (group,) = groups(run, "exact_dedup", 5)
    assert (
        group.kept.row["kept"]
        and group.rows == 1
        and [(c.row["drop_reason"], s) for c, s in group.dropped] == [("exact_dedup", 1.0)]
    )


def test_the_score_that_decided_leads_a_card():
    row = {"uid": "0" * 32, "text": "x", "drop_reason": "best", "a": 1, "b": 2, "c": 3, "d": 4, "score": 5}
    text = shown(Card(row, None), {"first": ["a"], "best": ["score"]})
    lead = text[text.index('class="lead"') :].split("</table>")[0]
    assert "score" in lead and "<td>a</td>" not in lead and '<summary class="dim">4 more' in text
