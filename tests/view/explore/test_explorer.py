"""The answers of an explorer: the numbers of the ledger, pictures made anew, neighbours, groups, thresholds, a sample that says so."""

import json
import math
from datetime import datetime

import numpy as np
import pytest
from pictured import picture

from curate.errors import RecipeError
from curate.view.explore.explorer import BINS, Explorer, _edges, _legend, plain


def uids(found):
    return [r["values"]["uid"] for r in found["rows"]]


def ledger(explorer, query):
    return [v for (v,) in explorer.here().con.sql(query).fetchall()]


def test_a_page_of_rows_is_what_sql_finds(explorer):
    asked = {
        "conditions": [{"column": "caption_words", "operator": "min", "value": 5}],
        "sort": "caption_words",
        "descending": True,
    }
    first, second = explorer.rows(asked | {"size": 4}), explorer.rows(asked | {"size": 4, "page": 1})
    expected = ledger(explorer, "select uid from images where caption_words >= 5 order by caption_words desc, uid")
    assert uids(first) + uids(second) == expected[:8] and first["total"] == len(expected)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert not any(k.startswith("payload") for r in first["rows"] for k in r["values"])


def test_what_there_is(explorer):
    about = explorer.about()
    (images,) = about["tables"]
    assert images["rows"] == 60 == sum(images["reasons"].values()) and images["columns"]["caption_words"] == "number"
    assert {b["setting"] for b in images["bounds"]} == {"caption_words.min", "image_side.min", "where_caption_words.max"}
    assert about["embedding"]["column"] == "clip_image" and "clip_image" not in images["columns"]
    assert about["duplicates"] == [{"step": "exact_dedup", "rows": 1, "groups": 1}]


@pytest.mark.parametrize("column", ["caption_words", "image_side"])
def test_a_histogram_counts_each_row_once_on_the_right_side(explorer, column):
    found = explorer.facet({"column": column})
    values = np.array(ledger(explorer, f"select {column} from images where {column} is not null"))
    bins = [int(((values >= low) & (values < high)).sum()) for low, high in zip(found["edges"], found["edges"][1:])]
    assert [k + d for k, d in zip(found["kept"], found["dropped"])] == bins and sum(bins) == found["rows"]


def test_values_are_counted_among_the_rows_that_other_filters_leave(explorer):
    kept = [
        {"column": "kept", "operator": "is", "value": "true"},
        {"column": "source_licence", "operator": "is", "value": "MIT"},
    ]
    found = explorer.facet({"column": "source_licence", "conditions": kept})
    assert sum(v["rows"] for v in found["values"]) == len(ledger(explorer, "select 1 from images where kept"))
    assert all(v["rows"] == v["kept"] for v in found["values"]) and not found["more"]


def test_bins():
    assert _edges(0, 3, 9, whole=True) == [float(i) for i in range(11)]
    far = _edges(1.0, 2.0, 1e6, whole=False)
    assert (
        len(far) == BINS + 1 and far[0] == 1 and math.isclose(far[-1], 1e6) and math.isclose(far[1] / far[0], far[-1] / far[-2])
    )
    assert _edges(2.0, 2.0, 2.0, whole=False)[-1] == 3.0


def test_a_picture_is_made_anew(explorer):
    (uid,) = ledger(explorer, "select uid from images where kept limit 1")
    fresh = Explorer(explorer.run.store.url)
    with fresh:
        assert fresh.picture(uid, 32)[:3] == b"\xff\xd8\xff"
        assert fresh.picture("0" * 32, 32) is None and fresh.picture("' or true --", 32) is None


def test_a_story_has_steps_and_the_other_side_of_a_duplicate(explorer):
    dropped, kept = explorer.here().con.sql("select uid, survivor from duplicates where step = 'exact_dedup'").fetchall()[0]
    story = explorer.story(dropped)
    assert [line["step"] for line in story["stories"][0]["lines"] if line["outcome"].startswith("dropped")] == ["exact_dedup"]
    assert [(d["dropped"]["values"]["uid"], d["kept"]["values"]["uid"]) for d in story["duplicates"]] == [(dropped, kept)]
    with pytest.raises(RecipeError, match="no row"):
        explorer.story("0" * 32)


def test_duplicates_are_groups(explorer):
    (group,) = explorer.groups({})["groups"]
    assert group["step"] == "exact_dedup" and group["rows"] == 1 and group["kept"]["values"]["kept"]
    assert [m["values"]["drop_reason"] for m in group["members"]] == ["exact_dedup"]
    assert explorer.groups({"step": "nothing"}) == {"total": 0, "groups": []}


def test_the_nearest_of_a_row_are_by_cosine(explorer):
    rows = explorer.here().con.sql("select uid, clip_image from images where clip_image is not null order by uid").fetchall()
    vectors = np.array([v for _, v in rows], np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors[3]
    alike[3] = -2
    found = explorer.near({"uid": rows[3][0], "n": 5})
    assert [round(r["similarity"], 3) for r in found["rows"]] == [round(a, 3) for a in sorted(alike, reverse=True)[:5]]
    assert found["looked"] == found["rows_with"] == len(rows)


def test_search_by_words_and_by_a_file(explorer):
    (uid,) = ledger(explorer, "select uid from images where source_key = '00012'")
    assert uids(explorer.near_image(picture(12)))[0] == uid and len(explorer.near({"words": "a car", "n": 7})["rows"]) == 7
    with pytest.raises(RecipeError, match="cannot be decoded"):
        explorer.near_image(b"<svg onload=alert(1)>")
    (never,) = ledger(explorer, "select uid from images where clip_image is null limit 1")
    assert explorer.near({"uid": never})["rows"] == []


def test_the_map_places_every_embedding_and_colours_it(explorer):
    found = explorer.map({})
    assert len(found["uids"]) == found["rows_with"] == len(found["x"]) and 0 <= min(found["y"]) <= max(found["y"]) <= 1
    reasons = dict(zip(found["uids"], found["classes"]))
    for row in explorer.of_uids(found["uids"]):
        name = found["legend"][reasons[row["values"]["uid"]]]["value"]
        assert name == (row["values"]["drop_reason"] or "kept")
    assert explorer.map({"colour": "caption_words"})["values"]
    assert not found["pending"] and found["method"].startswith("t-SNE")


def test_of_more_embeddings_than_fit_a_sample_is_looked_at_and_said_so(explorer):
    with Explorer(explorer.run.store.url, embeddings=20) as small:
        found = small.map({})
        assert 0 < len(found["uids"]) == found["looked"] <= 20 < found["rows_with"]


def test_moved_thresholds_count_who_leaves_and_who_enters(explorer):
    found = explorer.move(
        {"moves": [{"setting": "caption_words.min", "value": 2}, {"setting": "where_caption_words.max", "value": 6.0}]}
    )
    assert found["leave"] == len(ledger(explorer, "select 1 from images where kept and caption_words > 6"))
    assert found["enter"] == len(
        ledger(explorer, "select 1 from images where drop_reason = 'caption_words' and caption_words = 2")
    )
    assert found["options"] == ["--set caption_words.min=2", "--set where_caption_words.max=6"]
    assert len(found["leaving"]) == min(24, found["leave"]) and all(r["values"]["kept"] for r in found["leaving"])
    assert explorer.move({"moves": []})["options"] == []
    with pytest.raises(RecipeError, match="no threshold nothing"):
        explorer.move({"moves": [{"setting": "nothing.min", "value": 1}]})


def test_values_that_json_and_javascript_have():
    assert [plain(v) for v in (math.nan, math.inf, 2**60, 7, True, None, "x")] == ["nan", "inf", str(2**60), 7, True, None, "x"]
    assert plain(datetime(2026, 1, 2)) == "2026-01-02T00:00:00"


def test_a_legend_keeps_the_most_frequent_values():
    found = _legend([*"aab", None, *map(str, range(20))], "kept", most=2)
    assert [e["value"] for e in found["legend"]] == ["a", "0", "others"] and found["classes"][:4] == [0, 0, 2, 2]
