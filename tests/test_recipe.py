"""Recipes are checked before any worker starts; fingerprints change with what changes a score, and with nothing else."""

import dataclasses

import pytest
from toys import Toy, ToyFetch, ToyHalf, ToyScore, ToyWords, recipe

from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.filters.language import Language
from curate.filters.url_blocklist import UrlBlocklist
from curate.recipe import Recipe, kind, segment_kind, segments
from curate.stage import Filter, Stage


class Reader(Filter):
    reads = ("toy_skore",)


class Embeds(ToyScore):
    reads = ("image",)


class Pixels(Filter):
    reads = ("image",)


def test_a_column_that_nothing_provides_is_named_with_the_nearest(tmp_path):
    with pytest.raises(
        RecipeError, match=r"reader reads toy_skore, which nothing before it provides; did you mean toy_score\?"
    ):
        Recipe(Toy(), [ToyScore(), Reader()]).check()


def test_a_column_that_comes_too_late_is_named_with_its_step():
    with pytest.raises(RecipeError, match=r"toy_half reads toy_score.*; toy_score adds it, but comes later"):
        Recipe(Toy(), [ToyHalf(), ToyScore()]).check()


def test_pixels_before_fetch_are_refused():
    with pytest.raises(RecipeError, match=r"put Fetch\(\) before it"):
        Recipe(Toy(), [Pixels()]).check()


def test_two_steps_of_one_name_are_refused():
    with pytest.raises(RecipeError, match="two steps are called toy_words"):
        Recipe(Toy(), [ToyWords(), ToyWords(min=5)]).check()


@pytest.mark.parametrize("name", ['a"b', "a/b", "a\nb"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(RecipeError, match="names files and columns"):
        Recipe(Toy(), [ToyWords(name=name)]).check()


def test_something_that_is_no_step_is_refused():
    with pytest.raises(RecipeError, match="neither a stage nor a selector"):
        Recipe(Toy(), [len]).check()


def test_bounds_do_not_change_a_fingerprint_and_parameters_do():
    loose, tight = recipe([], words=2), recipe([], words=4)
    assert loose.fingerprints["toy_words"] == tight.fingerprints["toy_words"] and loose.fingerprint != tight.fingerprint
    other = dataclasses.replace(ToyWords(), name="other")
    assert Recipe(Toy(), [other]).fingerprints["other"] != loose.fingerprints["toy_words"]


def test_a_new_version_changes_the_fingerprints_of_all_that_read_it(monkeypatch):
    before = recipe([]).fingerprints
    monkeypatch.setattr(ToyScore, "version", 2)
    after = recipe([]).fingerprints
    assert {n for n in before if before[n] != after[n]} == {"toy_score", "toy_half"}


def test_pictures_that_go_into_shards_are_decoded_though_no_stage_reads_pixels():
    made = recipe(["x"])
    made.score.insert(1, Fetch())
    assert [s.name for s in made.steps] == [
        "duplicate_uid",
        "toy_words",
        "fetch",
        "toy_fetch",
        "toy_score",
        "decode",
        "toy_half",
    ]
    made = recipe(["x"])
    made.score[1], made.shards = Fetch(), None
    assert "decode" not in [s.name for s in made.steps]


def test_decode_is_put_before_the_first_pixel():
    steps = [s.name for s in Recipe(Toy(), [ToyFetch(), Pixels(name="a"), Pixels(name="b")]).check().steps]
    assert steps == ["duplicate_uid", "toy_fetch", "decode", "a", "b"]


def test_segments_break_where_the_place_changes():
    stages = [ToyWords(), ToyFetch(), ToyWords(name="w2"), Pixels(), ToyScore(), ToyWords(name="w3")]
    assert [[s.name for s in c] for c in segments(stages)] == [
        ["toy_words"],
        ["toy_fetch", "w2"],
        ["pixels"],
        ["toy_score", "w3"],
    ]
    assert [kind(s) for s in stages] == ["cpu", "network", "cpu", "cpu", "model", "cpu"]


def test_decoding_happens_where_its_pixels_are_first_used():
    steps = Recipe(Toy(), [ToyFetch(), Embeds(), ToyWords()]).check().steps
    assert [[s.name for s in c] for c in segments([s for s in steps if isinstance(s, Stage)])] == [
        ["toy_fetch"],
        ["decode", "embeds", "toy_words"],
    ]
    assert segment_kind([*steps[2:4]]) == "model"


def test_blocks_break_at_barriers():
    made = Recipe(Toy(), [ToyWords(), ToyFetch(), ToyScore(), ToyHalf(), ToyWords(name="late")], [ToyHalf(name="last")])
    blocks = [([s.name for s in a], [s.name for s in b]) for a, b in made.blocks()]
    assert blocks == [([], ["duplicate_uid"]), (["toy_words", "toy_fetch", "toy_score"], ["toy_half"]), (["late"], ["last"])]


@dataclasses.dataclass
class Named(ToyScore):
    column: str = "place"

    def adds(self):
        return {self.column: self.dtype}


@pytest.mark.parametrize("column", ["place", "kept", "drop_reason", "row", "input_digest", "key"])
def test_columns_that_the_ledger_needs_are_refused(column):
    with pytest.raises(RecipeError, match=f"adds {column}, a reserved column of the ledger"):
        Recipe(Toy(), [Named(column=column)], shards=None).check()


def test_text_that_is_redacted_does_not_pass_by_way_of_its_document(tmp_path):
    from curate.fetch.stage import Fetch
    from curate.filters.document_text import DocumentText
    from curate.filters.redact_contacts import RedactContacts
    from curate.recipe import Shards
    from curate.sources.web_pages import WebPages

    (tmp_path / "a.html").write_text("<p>text</p>")
    steps = [RedactContacts(table="texts"), DocumentText(), Fetch()]

    def check(*more, **how):
        return Recipe(WebPages(str(tmp_path / "*.html")), [*steps, *more], shards=Shards(**how)).check()

    with pytest.raises(RecipeError, match="document_text passes on text of texts, which redact_contacts redacts there"):
        check()
    assert check(without=("document_text",))
    assert check(RedactContacts(("document_text",), table="documents", name="again"))


def test_options_of_either_spelling_of_maybe():
    import typing

    from curate.settings import parser

    assert parser(typing.Union[float, None]) is float  # noqa: UP007


def test_all_missing_weights_are_named_at_once():
    made = Recipe(Toy(), [Language(model="/nowhere/a.bin"), UrlBlocklist(list="/nowhere/b.txt")])
    with pytest.raises(
        RecipeError, match=r"language: no weights at /nowhere/a.bin.*; url_blocklist: no weights at /nowhere/b.txt"
    ):
        made.fingerprints  # noqa: B018
