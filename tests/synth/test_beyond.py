"""Scene graphs, WordNet links, matching pairs, instructions: their invariants."""

import numpy as np
import pyarrow as pa
import pytest
from synth.writers import Parrot

from curate.errors import PoolError, RecipeError
from curate.selector import coin
from curate.sources.wordnet import WordNet
from curate.synth.captioners import Answer
from curate.synth.instruct import Instruct, conversation, facts
from curate.synth.matching import MatchingNegatives
from curate.synth.scene_graph import SceneGraph, graph
from curate.synth.wordnet_links import WordnetLinks, links
from tests.dedup.pool import one_chunk

# ---- scene graphs


def test_objects_attributes_and_relations():
    text = "Two small dogs on a red sofa, near a window"
    found = graph(text)
    assert [o["name"] for o in found["objects"]] == ["dogs", "sofa", "window"]
    assert [text[o["start"] : o["end"]] for o in found["objects"]] == ["Two small dogs", "a red sofa", "a window"]
    assert [(a["object"], a["attribute"]) for a in found["attributes"]] == [(0, "two"), (0, "small"), (1, "red")]
    assert found["relations"] == [{"subject": 0, "relation": "on", "object": 1}]


def test_and_relates_nothing_and_places_hold_in_any_script():
    assert graph("a cat and a dog")["relations"] == []
    text = "ein “Hund” — a dog under a tree"
    assert all(text[o["start"] : o["end"]].lower().endswith(o["name"]) for o in graph(text)["objects"])
    found = SceneGraph().run(pa.table({"uid": ["1", "2", "3"], "text": ["a dog", None, ""]}))
    nothing = {"objects": [], "attributes": [], "relations": []}
    assert found["text_graph"].to_pylist()[1:] == [None, nothing]


# ---- WordNet


def wordnet(senses, exceptions=""):
    """An index of these nouns with so many senses; the n-th is the synset n."""
    lines = [f"{noun} n {k} 0 {k} 0 {' '.join([f'{n:08}'] * k)}" for n, (noun, k) in enumerate(senses.items())]
    return WordNet({"index.noun": "\n".join(lines), "noun.exc": exceptions})


KNOWN = wordnet({"a": 7, "dog": 7, "ice_cream": 1, "ice": 8, "cream": 3, "goose": 3, "church": 4, "berry": 1}, "geese goose\n")


def test_the_longest_lemma_wins_and_plurals_are_known():
    text = "A dog’s berries, ice creams and geese by churches; ice, cream"
    assert [(text[f["start"] : f["end"]], f["lemma"]) for f in links(text, KNOWN)] == [
        ("berries", "berry"),
        ("ice creams", "ice_cream"),
        ("geese", "goose"),
        ("churches", "church"),
        ("ice", "ice"),
        ("cream", "cream"),
    ]
    assert next(links("dogs", KNOWN)) == {"start": 0, "end": 4, "lemma": "dog", "synset": "n00000001", "senses": 7}


def test_a_lemma_has_as_many_words_as_it_has():
    known = wordnet({"man_of_the_people_and_more": 1})
    assert [f["lemma"] for f in links("a man of the people and more", known)] == ["man_of_the_people_and_more"]


def test_the_database_is_read_as_it_lies(tmp_path):
    (tmp_path / "index.noun").write_text("  1 licence\ndog n 2 3 @ ~ #m 2 1 02084071 10114209  \n")
    (tmp_path / "noun.exc").write_text("dogges dog\n")
    stage = WordnetLinks(folder=str(tmp_path))
    stage.load()
    found = stage.run(pa.table({"uid": ["1", "2"], "text": ["old dogges", None]}))["text_links"].to_pylist()
    assert found == [[{"start": 4, "end": 10, "lemma": "dog", "synset": "n02084071", "senses": 2}], None]
    with pytest.raises(RecipeError, match="wordnet-base"):
        WordnetLinks(folder=str(tmp_path / "no")).load()


# ---- matching pairs


def by_id(frame):
    return frame.table().sort_by("id")


def pool(texts, image, text):
    table = pa.table(
        {
            "id": range(len(texts)),
            "uid": [f"u{i}" for i in range(len(texts))],
            "text": pa.array(texts, pa.string()),
            "clip_image": pa.array(list(image), pa.list_(pa.float32())),
            "clip_text": pa.array(list(text), pa.list_(pa.float32())),
        }
    )
    return one_chunk(table)


def test_the_hardest_other_text_is_taken_and_never_the_own():
    image = np.array([[1, 0], [0.6, 0.8], [0, 1], [1, 0], [0, 1]], np.float32)
    texts = ["a dog", "a cat", "a cow", " A  Dog", None]
    vectors = [*image[:4], None]
    found = MatchingNegatives(group=10).select(pool(texts, image, vectors))
    assert by_id(found.columns)["matching_negative_text"].to_pylist() == ["a cat", "a cow", "a cat", "a cat"]
    assert by_id(found.columns)["matching_negative_uid"].to_pylist() == ["u1", "u2", "u1", "u1"]
    assert len(found.dropped()) == 0 and found.notes == {"mined": 4, "without": 0}


def test_a_text_that_fits_better_than_the_own_is_no_negative():
    image = np.array([[1, 0], [0, 1]], np.float32)
    found = MatchingNegatives().select(pool(["a dog", "a cat"], image, image[::-1].copy()))
    assert by_id(found.columns)["matching_negative_uid"].to_pylist() == [None, None]


def test_a_text_of_a_picture_that_looks_the_same_is_no_negative():
    """The second is the first, cropped: its text fits the first a little less than its own, and is true of it."""
    image = np.array([[1, 0, 0], [0.95, 0.3122499, 0], [0.6, 0, 0.8]], np.float32)
    text = np.array([[1, 0, 0], [0.99, 0.1410674, 0], [0.6, 0, 0.8]], np.float32)
    texts = ["horse, photographed in May", "an animal on grass", "a river"]
    found = by_id(MatchingNegatives().select(pool(texts, image, text)).columns)
    assert found["matching_negative_uid"].to_pylist()[0] == "u2"
    loose = by_id(MatchingNegatives(same=1.01).select(pool(texts, image, text)).columns)
    assert loose["matching_negative_uid"].to_pylist()[0] == "u1"


@pytest.mark.parametrize(
    "own, other, true",
    [
        ("a white horse on grass", "A horse", True),
        ("horse, photographed in May", "horse", True),
        ("a horse", "a white horse on grass", False),
        ("a red car", "a red house", False),
        ("...", "a cat", False),
    ],
)
def test_a_text_that_says_less_than_the_own_is_no_negative(own, other, true):
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    found = by_id(MatchingNegatives().select(pool([own, other], vectors, vectors)).columns)
    assert found["matching_negative_uid"].to_pylist()[0] == (None if true else "u1")


def test_like_pictures_are_near_but_not_the_same_and_have_another_text():
    image = np.array([[1, 0, 0], [0.99, 0.141, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0.7, 0, 0.714]], np.float32)
    texts = ["a dog", "dogs", "a cat", "a dog", "a cow"]
    found = by_id(MatchingNegatives(images=2).select(pool(texts, image, image)).columns)
    assert found["matching_negative_images"].to_pylist()[0] == ["u2", "u4"]


def test_a_row_without_a_picture_is_no_partner():
    found = MatchingNegatives(margin=2.0).select(pool(["a", "b", "c"], [[1.0, 0.0], None, [0.0, 1.0]], np.eye(3, 2)))
    assert by_id(found.columns)["id"].to_pylist() == [0, 2] and by_id(found.columns)["matching_negative_uid"].to_pylist() == [
        "u2",
        "u0",
    ]
    nobody = MatchingNegatives().select(pool(["a"], [None], [None]))
    assert nobody.columns.rows == 0 and nobody.notes == {"mined": 0, "without": 0}


def test_a_row_s_partner_is_of_its_group():
    """Groups of three, in the order of the coin."""
    live = pool([f"text {i}" for i in range(7)], np.eye(7), np.eye(7))
    found = by_id(MatchingNegatives(group=3).select(live).columns)
    order = sorted((f"u{i}" for i in range(7)), key=lambda u: coin([u], 0, "matching_negative")[0])
    group = {u: n // 3 for n, u in enumerate(order)}
    partners = dict(zip([f"u{i}" for i in found["id"].to_pylist()], found["matching_negative_uid"].to_pylist()))
    assert partners.pop(order[6]) is None and all(group[a] == group[b] for a, b in partners.items())


def test_groups_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    image, text = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 60, 8)).astype(np.float32))
    texts = [f"text {i}" for i in range(60)]
    stage = MatchingNegatives(group=16, margin=2.0)
    live = pool(texts, image, text)
    turned = live.table()
    turned = turned.set_column(0, "id", pa.array([59 - i for i in range(60)]))
    pairs = []
    for table in (live.table(), turned):
        uids = dict(zip(table["id"].to_pylist(), table["uid"].to_pylist()))
        found = stage.select(one_chunk(table)).columns.table()
        pairs.append({uids[i]: u for i, u in zip(found["id"].to_pylist(), found["matching_negative_uid"].to_pylist())})
    assert pairs[0] == pairs[1] and all(a != b for a, b in pairs[0].items())


# ---- instructions


def test_a_conversation_has_one_placeholder_and_turns_that_alternate():
    turns = conversation("Question: What is it? <image>\nAnswer: A dog.\n**Question:** Where?\n**Answer:** On a sofa.")
    assert [t["from"] for t in turns] == ["human", "gpt", "human", "gpt"]
    assert turns[0]["value"] == "<image>\nWhat is it?" and "<image>" not in "".join(t["value"] for t in turns[1:])
    assert [t["value"] for t in turns[2:]] == ["Where?", "On a sofa."]
    assert conversation("Question: What?\nAnswer: **bold** words")[1]["value"] == "**bold** words"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "a dog",
        "Question: what?",
        "Answer: a\nQuestion: b",
        "Question: a\nAnswer:",
        "Question: a\nQuestion: b\nAnswer: c",
    ],
)
def test_what_is_no_conversation_is_left_out(text):
    assert conversation(text) is None


def test_facts_have_captions_and_boxes():
    assert facts(["a dog ", None], [{"label": "dog", "box": [0, 0.25, 0.5, 1]}]) == "a dog\ndog: [0.00, 0.25, 0.50, 1.00]"
    assert facts([None, " "]) is None
    with pytest.raises(PoolError, match="from 0 to 1"):
        facts([], [{"label": "dog", "box": [0, 0, 300, 200]}])


class Writes(Parrot):
    def write(self, requests, decoding):
        self.prompts = [r.text for r in requests]
        return [Answer("Question: What?\nAnswer: A dog.", "stop") for _ in requests]


def test_the_stage_asks_with_the_facts_and_llava_reads_what_it_makes():
    stage = Instruct(Writes(), texts=("text", "caption_a"), boxes="boxes", name="talk")
    stage.load()
    live = pa.table(
        {
            "uid": ["1", "2"],
            "text": ["a dog", None],
            "caption_a": ["dogs", None],
            "boxes": [[{"label": "dog", "box": [0.0, 0.0, 1.0, 1.0]}], None],
        }
    )
    found = stage.run(live)
    assert (
        found.column_names == list(stage.adds())
        and "a dog\ndogs\ndog: [0.00" in stage.by.prompts[0]
        and len(stage.by.prompts) == 1
    )
    assert found["caption_talk_turns"].to_pylist() == [
        [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}],
        None,
    ]


def test_each_row_draws_its_kind_of_conversation():
    stage = Instruct(Writes(), texts=("text",), kinds={"conversation": 1, "detail": 2, "reasoning": 0}, name="talk")
    stage.load()
    live = pa.table({"uid": [f"u{i}" for i in range(60)], "text": ["a dog"] * 60})
    kinds = stage.run(live)["caption_talk_kind"].to_pylist()
    stage.close()
    assert 8 < kinds.count("conversation") < 33 and set(kinds) == {"conversation", "detail"}
    assert list(stage.drawn(live["uid"].to_pylist()[::-1])) == kinds[::-1]
    assert Instruct(Writes(), kinds={"detail": 1}).identity() != Instruct(Writes(), kinds={"reasoning": 1}).identity()
