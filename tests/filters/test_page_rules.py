"""Rules of published page corpora that are counted in one filter: literal values, with the neighbours of each bound."""

import numpy as np
import pyarrow as pa
import pytest

from curate.filters import paragraph_ratios
from curate.filters.document_massive_text import DocumentMassiveText
from curate.filters.document_one_image import DocumentOneImage
from curate.filters.document_paragraph_length import DocumentParagraphLength
from curate.filters.image_order import ImageOrder
from curate.filters.paragraph_omni_corpus import ParagraphOmniCorpus

STORY = "The mill of the town was old and the bridge had to be mended, so people came with stones and that was it."


def pages(*texts: str) -> tuple[pa.Table, pa.Table]:
    """Documents of which each has the lines of a text as paragraphs."""
    lines = [(str(i), line) for i, text in enumerate(texts) for line in text.split("\n")]
    children = pa.table(
        {
            "doc_uid": [d for d, _ in lines],
            "position": list(range(len(lines))),
            "live": [True] * len(lines),
            "text": pa.array([line for _, line in lines], pa.large_string()),
        }
    )
    return pa.table({"uid": [str(i) for i in range(len(texts))]}), children


def scored(stage, *texts):
    live, children = pages(*texts)
    return stage.run(live, images=children, texts=children)[stage.name].to_pylist()


def test_tokens_are_words_and_marks():
    found = paragraph_ratios.tokens("Don't go (now), Mr. X-ray... 3.5% 熊猫爱竹子!")
    assert found == ["Don't", "go", "(", "now", ")", ",", "Mr", ".", "X-ray", "...", "3.5", "%", "熊猫", "爱竹", "子", "!"]


@pytest.mark.parametrize(
    "text, broken",
    [
        (STORY, 0),
        ("to of x y z " * 12, 1),  # words of less than 3 characters
        ("of internationalisation " * 3 + "internationalisation " * 9, 1),  # of more than 10
        ("the and 2019 2020 " * 2, 1),  # half of the words have no letter
        ("people came along with stones", 1),  # one of the eight words
        ("people came along with stones with", 0),
        ("# " * 3 + STORY, 1),
        ("\n".join(["- the bread and salt of mills"] * 10), 1),
        ("\n".join(["- the bread and salt of mills"] * 9 + [STORY]), 0),
        ("\n".join([STORY] * 7 + ["The story of that goes on..."] * 3), 0),
        ("\n".join([STORY] * 6 + ["The story of that goes on..."] * 4), 1),
        ("在这座古老的桥旁边，人们在夏天的晚上散步，孩子们在河里游泳。", 0),
        ("Под старым мостом течёт река, и люди гуляют у воды.", 0),
        ("", 3),
    ],
)
def test_massive_text(text, broken):
    assert scored(DocumentMassiveText(), text) == [broken]


def test_only_rules_of_lines_can_be_left_out():
    assert scored(DocumentMassiveText(lines=False), "# " * 3 + STORY) == [0]
    assert scored(DocumentMassiveText(words=("mill", "bridge"), letters=0.99, lines=False), STORY) == [1]


def test_a_page_needs_a_long_paragraph_or_a_high_mean():
    stage, word = DocumentParagraphLength(), "mill "
    texts = [word * 35, word * 34, "\n".join([word * 34] + [word] * 9), "\n".join([word * 35] + [word] * 9)]
    live, children = pages(*texts, "\n".join([word * 11] * 3), "\n".join([word * 12] * 3), "熊猫" * 12)
    columns = stage.run(live, images=children, texts=children)
    reason = "document_paragraph_length"
    assert stage.judge(columns).to_pylist() == [None, None, reason, None, reason, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "WE MAKE THE BEST BREAD OF THE TOWN",
        "0123 456 789 2345",
        "So many people gave it 25 likes",
        "That is what is in the References:",
        "For more information see the page of the town itself",
        "Please sign in to see all of it",
        "advertisement",
        "Published by the mill of the old town",
        "The bridge was mended twice (cf. Miller 1920)",
        "As was shown long ago (Miller & Sons, 1920)",
        "Call the mill at 555-123-4567 and ask for bread",
        "The mill opens on January 12, 2024 in the morning",
        "We meet at the bridge at 12:30 pm",
        "By the people who live at the mill",
        "Write to us at @oldmill for all news",
        "There is a story behind all this, read more",
        "The people of the town also read: Contact Information",
    ],
)
def test_a_paragraph_of_a_frame_breaks_a_rule_of_omnicorpus(text):
    stage = ParagraphOmniCorpus()
    found = stage.run(pa.table({"text": pa.array([text], pa.large_string())}))
    assert found["paragraph_omni_corpus"][0].as_py() > 0 and stage.judge(found).to_pylist() == ["paragraph_omni_corpus"]


@pytest.mark.parametrize(
    "text",
    [
        STORY,
        "She likes to share bread with all the people who comment on it, and never says no.",
        "The mill was built in 1920 by the people who lived there, and who read more books than we do today, it is said.",
        "On January 12, 2024 " + STORY + " " + STORY,
        "在这座古老的桥旁边，人们在夏天的晚上散步，孩子们在河里游泳。",
    ],
)
def test_prose_breaks_none(text):
    assert ParagraphOmniCorpus().run(pa.table({"text": pa.array([text], pa.large_string())}))[
        "paragraph_omni_corpus"
    ].to_pylist() == [0]


def test_images_are_counted_along_the_page():
    images = pa.table(
        {
            "doc_uid": ["b", "a", "a", "a", "a", "b"],
            "position": pa.array([7, 9, 1, 4, 2, 0], pa.int32()),
            "live": [True, True, True, False, True, True],
        }
    )
    stage = ImageOrder(max=2)
    columns = stage.run(images.filter(images["live"]).select(["doc_uid", "position"]), images=images)
    assert columns["image_order"].to_pylist() == [2, 3, 1, 2, 1]
    assert stage.judge(columns).to_pylist() == [None, "image_order", None, None, None]
    assert len(stage.run(images.slice(0, 0).select(["doc_uid", "position"]), images=images.slice(0, 0))) == 0


def test_about_half_of_the_pages_with_one_image_stay():
    uids = [f"{n:032x}" for n in range(2000)]
    live = pa.table({"uid": uids})
    owners = [u for n, u in enumerate(uids) for _ in range(1 if n < 1000 else 2 if n < 1900 else 0)]
    images = pa.table({"doc_uid": owners, "live": [True] * len(owners)})
    stage = DocumentOneImage(seed=3)
    columns = stage.run(live, images=images, texts=images)
    kept = np.asarray(stage.judge(columns).is_null())
    assert 450 < kept[:1000].sum() < 550 and kept[1000:].all()
    one = images.filter(pa.array([o == uids[0] for o in owners]))
    assert stage.run(live.slice(0, 1), images=one, texts=one).equals(columns.slice(0, 1))
