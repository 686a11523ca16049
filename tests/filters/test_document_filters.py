"""Filters of documents count live children only; filters before any fetch look at what the page declares."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from curate.filters.declared_aspect import DeclaredAspect
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_aligned import DocumentAligned
from curate.filters.document_char_repetition import DocumentCharRepetition
from curate.filters.document_children import gathered
from curate.filters.document_coherence import DocumentCoherence, coherence
from curate.filters.document_fallen_images import DocumentFallenImages
from curate.filters.document_flagged_words import DocumentFlaggedWords
from curate.filters.document_image_set import DocumentImageSet
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_punctuation import DocumentPunctuation
from curate.filters.document_stop_words import DocumentStopWords
from curate.filters.document_symbols import DocumentSymbols
from curate.filters.document_text import DocumentText
from curate.filters.document_texts import DocumentTexts
from curate.filters.document_word_repetition import DocumentWordRepetition
from curate.filters.document_words import DocumentWords
from curate.filters.document_words_per_image import ENOUGH, DocumentWordsPerImage
from curate.filters.image_url_words import ImageUrlWords

DOCUMENTS = pa.table({"uid": ["a", "b", "c"], "source_row": [0, 1, 2], "lang": ["en", "en", None]})
#: Page a: two live images and a dead one, three texts of which one is dead; b: one image; c: nothing. Rows are not in order.
IMAGES = pa.table(
    {
        "doc_uid": ["b", "a", "a", "a", "gone"],
        "position": [0, 4, 1, 2, 0],
        "live": [True, True, True, False, True],
        "source_row": [1, 0, 0, 0, 9],
        "clip_image": [[1.0, 0.0]] * 5,
    }
)
TEXTS = pa.table(
    {
        "doc_uid": ["a", "a", "a"],
        "position": [5, 0, 3],
        "live": [True, True, False],
        "text": ["and the dog.", "The cat sat", "dead words that nobody counts"],
    }
)


def scored(filter):
    table = filter.run(DOCUMENTS.select(filter.reads), images=IMAGES, texts=TEXTS)
    return table[filter.name].to_pylist(), filter.judge(table).to_pylist()


def test_live_children_are_counted():
    assert scored(DocumentImages(min=2)) == ([2, 1, 0], [None, "document_images", "document_images"])
    assert scored(DocumentImages(min=None, max=1))[1] == ["document_images", None, None]
    assert scored(DocumentTexts(min=1)) == ([2, 0, 0], [None, "document_texts", "document_texts"])
    assert scored(DocumentWords(min=6)) == ([6, 0, 0], [None, "document_words", "document_words"])


def test_all_images_must_pass_unless_some_may_fall():
    assert scored(DocumentFallenImages()) == ([1, 0, 0], ["document_fallen_images", None, None])
    assert scored(DocumentFallenImages(max=1))[1] == [None] * 3


def test_images_of_a_pages_second_capture_are_none_of_the_first():
    """The capture that fell took its images along; they have the doc_uid of the one that stayed."""
    twice = pa.table({"doc_uid": ["a", "a", "a"], "source_row": [0, 7, 7], "live": [True, False, False]})
    assert DocumentFallenImages().score(DOCUMENTS, twice, TEXTS).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "kind",
    [
        DocumentCharRepetition,
        DocumentWordRepetition,
        DocumentSymbols,
        DocumentPunctuation,
        DocumentStopWords,
        DocumentFlaggedWords,
    ],
)
def test_a_paragraph_without_a_text_is_as_none(kind):
    missing = TEXTS.set_column(3, "text", pa.array(["and the dog.", None, "dead"], pa.large_string()))
    only = TEXTS.slice(0, 1)
    assert kind().score(DOCUMENTS, IMAGES, missing) == kind().score(DOCUMENTS, IMAGES, only)


def test_children_come_in_page_order():
    assert gathered(DOCUMENTS, TEXTS, "text") == [["The cat sat", "and the dog."], [], []]


def test_ratios_of_the_whole_text():
    text = "The cat sat\n\nand the dog."  # an empty line between paragraphs, as in OBELICS
    assert scored(DocumentSymbols())[0] == pytest.approx([7 / len(text), 1.0, 1.0])
    assert scored(DocumentPunctuation())[0] == pytest.approx([1 / 7, 0, 0])
    assert scored(DocumentStopWords()) == ([0.5, 0, 0], [None, "document_stop_words", "document_stop_words"])
    assert scored(DocumentFlaggedWords(words=("dog",)))[0] == pytest.approx([1 / 6, 0, 0])
    assert scored(DocumentCharRepetition(n=3))[0][0] > 0 and scored(DocumentWordRepetition(n=1))[0][0] == pytest.approx(2 / 6)


def test_words_per_image_is_asked_above_a_number_of_images():
    assert scored(DocumentWordsPerImage(min=5, above_images=1)) == (
        [3, ENOUGH, ENOUGH],
        ["document_words_per_image", None, None],
    )


def test_coherence_is_above_zero_for_a_story_and_zero_without_three_images():
    angles = np.linspace(0, np.pi / 2, 6)
    story = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert coherence(story) > 0.1 > 0 > coherence(story[[0, 5, 1, 4, 2, 3]])
    assert scored(DocumentCoherence())[0] == [0, 0, 0]


def test_a_slice_scores_as_the_whole():
    for filter in (DocumentImages(), DocumentWords(), DocumentSymbols()):
        whole = filter.run(DOCUMENTS, images=IMAGES, texts=TEXTS)
        assert filter.run(DOCUMENTS.slice(1, 1), images=IMAGES, texts=TEXTS).equals(whole.slice(1, 1))


@pytest.mark.parametrize(
    "url, count",
    [
        ("https://e.org/logo.png", 1),
        ("https://e.org/img/icons/x.png", 1),
        ("https://e.org/siteLogo.png", 1),
        ("https://e.org/_next/image?url=%2Fimages%2Flogo.png&w=3", 1),
        ("https://e.org/big_button2.gif", 1),
        ("https://e.org/lexicon.png", 0),
        ("https://essex.org/silicon.jpg", 0),
        ("https://logos.org/icon/button.gif", 3),
        (None, None),
        ("https://e.org/photo.jpg", 0),
    ],
)
def test_image_url_words_are_whole_words(url, count):
    filter = ImageUrlWords()
    table = filter.run(pa.table({"url": pa.array([url], pa.large_string())}))
    assert table["image_url_words"].to_pylist() == [count]
    assert filter.judge(table).to_pylist() == [None if count == 0 else "image_url_words"]


def test_substrings_of_urls_as_the_published_code_looks_for_them():
    filter = ImageUrlWords(words=("logo", "sex"), whole=False)
    urls = ["https://e.org/essex.jpg", "https://e.org/Logo.png", "https://logos.org/logo", None]
    assert filter.run(pa.table({"url": pa.array(urls, pa.large_string())}))["image_url_words"].to_pylist() == [1, 0, 1, None]


def test_declared_sizes():
    sizes = pa.table(
        {
            "declared_width": pa.array([100, 16, None, None, 300], pa.int32()),
            "declared_height": pa.array([200, None, 63, None, 0], pa.int32()),
        }
    )
    table = DeclaredSize().run(sizes)
    assert table["declared_size"].to_pylist() == [100, 16, 63, 65_535, 0]
    assert DeclaredSize().judge(table).to_pylist() == [None, "declared_size", "declared_size", None, "declared_size"]
    assert DeclaredAspect().run(sizes)["declared_aspect"].to_pylist() == [2, 1, 1, 1, 1]


def test_the_share_of_images_that_fit_counts_live_ones():
    images = IMAGES.append_column("align", pa.array([0.3, 0.2, 0.25, 0.9, 0.9], pa.float32()))
    assert DocumentAligned().score(DOCUMENTS, images, TEXTS).tolist() == [0.0, 1.0, 0.0]  # 0.25 is not above 0.25
    assert DocumentAligned(above=0.2).score(DOCUMENTS, images, TEXTS).tolist() == [0.5, 1.0, 0.0]


def test_pages_with_the_same_images_have_the_same_set():
    images = IMAGES.append_column("url", pa.array(["y", "x", "y", "dead", "gone"], pa.large_string()))
    found = DocumentImageSet().run(DOCUMENTS, images)["document_image_set"].to_pylist()
    same = DocumentImageSet().run(DOCUMENTS, images.take([1, 2, 0, 3]))["document_image_set"].to_pylist()
    assert found[2] is None and found[0] != found[1] and found == same
    once = images.filter(pa.array([True, False, True, False, False]))
    assert DocumentImageSet().run(DOCUMENTS, once)["document_image_set"].to_pylist()[:2] == [found[1]] * 2
    assert DocumentImageSet().run(DOCUMENTS, once)["document_image_set_time"].to_pylist() == [None] * 3
    times = pa.array([datetime(2025, 3, 1, tzinfo=UTC), None, datetime(1970, 1, 1, tzinfo=UTC)], pa.timestamp("ms", "UTC"))
    dated = DocumentImageSet().run(DOCUMENTS.append_column("captured_at", times), once)
    assert dated["document_image_set_time"].to_pylist() == [1_740_787_200_000, None, 0]


def test_a_document_is_its_live_paragraphs_in_page_order():
    assert DocumentText().run(DOCUMENTS, TEXTS)["document_text"].to_pylist() == ["The cat sat\nand the dog.", None, None]
    missing = TEXTS.set_column(3, "text", pa.array(["and the dog.", None, "dead"], pa.large_string()))
    assert DocumentText().run(DOCUMENTS, missing)["document_text"].to_pylist() == ["and the dog.", None, None]


def test_the_language_of_a_document_is_that_of_its_paragraphs_together():
    language = DocumentLanguage(min=0.5)
    language.load()
    german = TEXTS.set_column(
        3, "text", pa.array(["Der Hund schläft im Garten.", "Die Katze saß auf dem Tisch", "dead English words"])
    )
    found = language.run(DOCUMENTS, texts=german)
    assert found["document_language"].to_pylist() == ["de", None, None]
    assert language.judge(found).to_pylist() == ["document_language"] * 3  # German is not wanted; nothing has no language
