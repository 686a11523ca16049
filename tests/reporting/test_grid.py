"""curate show: grids, duplicates side by side, documents as pages."""

import pytest
from pictured import picture, pictured

from curate.cli import main
from curate.fetch.isolate import Isolated
from curate.opened import open_run
from curate.reporting.samples import cards, pairs, rows_at, samples, small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(pictured(tmp_path_factory.mktemp("grid")).store.url)


def test_a_pair_is_a_dropped_row_beside_the_one_it_fell_for(run):
    (pair,) = pairs(run, "exact_dedup", 10)
    rows = pair.dropped.row, pair.survivor.row
    assert [r["source_key"] for r in rows] in (["00031", "00030"], ["00030", "00031"]) and pair.similarity == 1.0
    assert pair.dropped.row["drop_reason"] == "exact_dedup" and pair.survivor.row["kept"] and pair.dropped.thumbnail


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
    for reason, word in (("exact_dedup", "its survivor"), ("image_side", "image_side")):
        file = tmp_path / f"{reason}.html"
        assert main(["show", run.store.url, "--reason", reason, "-o", str(file)]) == 0
        assert word in file.read_text() and "data:image/jpeg;base64," in file.read_text()
    assert main(["show", run.store.url, "--where", "nonsense >", "-o", str(tmp_path / "x.html")]) == 2
    assert "SQL: " in capsys.readouterr().err
