"""Filters of paragraphs: what they measure, and that their bounds are the published ones."""

import pyarrow as pa
import pytest

from curate.filters import paragraph_ratios
from curate.filters.paragraph_char_repetition import ParagraphCharRepetition
from curate.filters.paragraph_flagged_words import ParagraphFlaggedWords
from curate.filters.paragraph_links import ParagraphLinks
from curate.filters.paragraph_punctuation import ParagraphPunctuation
from curate.filters.paragraph_spam_words import ParagraphSpamWords
from curate.filters.paragraph_stop_words import ParagraphStopWords
from curate.filters.paragraph_symbols import ParagraphSymbols
from curate.filters.paragraph_word_repetition import ParagraphWordRepetition
from curate.filters.paragraph_words import ParagraphWords
from curate.stage import Filter

ENGLISH = "The cat sat on the mat because it was the warmest place in all of the house, and nobody minded."


def scored(filter: Filter, *texts, **columns) -> tuple[list, list]:
    """Scores and reasons for texts."""
    columns = {"text": pa.array(texts, pa.large_string()), **{k: pa.array(v) for k, v in columns.items()}}
    table = filter.run(pa.table({"uid": [str(i) for i in range(len(texts))], **columns}))
    return table[filter.name].to_pylist(), filter.judge(table).to_pylist()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello, World!", ["hello", "world"]),
        ("don't  stop", ["don't", "stop"]),
        ("- --", []),
        ("", []),
        ("我喜欢猫", ["我喜", "欢猫"]),
        ("用GIMP画图", ["用", "gimp", "画图"]),
        ("Über-größe 3.5", ["über-größe", "3.5"]),
        ("राम का घर, राम की बेटी", ["राम", "का", "घर", "राम", "की", "बेटी"]),
        ("பூனை மீது நாய்!", ["பூனை", "மீது", "நாய்"]),
        ("ที่นี่", ["ที่นี่"]),
        ("«cafe\u0301» _x_ C++ ①", ["cafe\u0301", "_x_", "c", "①"]),
        ("❤️ ☕️ 1️⃣ ⃠ cup☕️", ["1", "cup"]),
    ],
)
def test_words(text, expected):
    assert paragraph_ratios.words(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2nd of 3.5kg, 2019-04-01 v2", ["nd", "of", "kg", "v"]),
        ("_x_ 42 – 7 … e=mc2", ["x", "e=mc"]),
        ("«2nd» 3–größe5 ❤️ cafe\u0301", ["nd", "größe", "cafe\u0301"]),
        ("", []),
    ],
)
def test_words_of_letters(text, expected):
    assert paragraph_ratios.letter_words(text) == expected


def test_paragraph_words():
    assert scored(ParagraphWords(), "one two three", "one two three four", None) == (
        [3, 4, None],
        ["paragraph_words", None, "paragraph_words"],
    )
    assert scored(ParagraphWords(), "word " * 1001)[1] == ["paragraph_words"]


def test_paragraph_symbols():
    scores, reasons = scored(ParagraphSymbols(), "abcdefg hi", "ab12!?🙂***", "", "e\u0301cole Straße")
    assert scores == pytest.approx([1 / 10, 8 / 10, 1.0, 1 / 13]) and reasons == [
        None,
        "paragraph_symbols",
        "paragraph_symbols",
        None,
    ]


def test_paragraph_punctuation_is_asked_of_long_paragraphs():
    scores, reasons = scored(ParagraphPunctuation(), ENGLISH, "no marks " * 6, "short one", "don't " * 9 + "- a, b.", "-")
    assert scores == pytest.approx([2 / 22, 0.0, 1.0, 2 / 13, 0.0])
    assert reasons == [None, "paragraph_punctuation", None, None, "paragraph_punctuation"]


def test_punctuation_is_what_obelics_computes():
    """compute_punctuation_ratio of its obelics/processors/web_document_filtering.py, written anew."""
    import re

    def theirs(text, least):
        found = re.findall(r"[\w']+|[,;:?!.]", text)
        marks = sum(f in {",", ";", ":", "?", "!", "."} for f in found)
        return 1.0 if 0 < len(found) < least else marks / max(len(found), 1)

    texts = [ENGLISH, "", "-", "a", "Hm... (what?) it's 3.5; no: $4! " * 3, "über_all, ñandú. Привет, мир!", "x " * 300 + "."]
    for least in (0, 12):
        found = paragraph_ratios.punctuation(pa.array(texts, pa.large_string()), least)
        assert found.to_pylist() == [theirs(t, least) for t in texts]


GERMAN = "Die Katze liegt auf dem Sofa und schläft."


def test_paragraph_stop_words():
    keywords = "buy cheap shoes online store discount"
    czech = "Starý most vede přes řeku u mlýna a o trzích po něm přicházejí lidé z vesnic s vozy plnými jablek."
    scores, reasons = scored(ParagraphStopWords(), ENGLISH, GERMAN, keywords, czech, "ねこ", "", None)
    assert scores == [pytest.approx(13 / 20), 0.5, 0.0, 1.0, 1.0, 0.0, None]
    assert reasons == [None, None, "paragraph_stop_words", None, None, *["paragraph_stop_words"] * 2]


def test_what_a_page_declares_is_not_the_language_of_a_paragraph():
    for declared in ("en", "pl", "de-DE", "ja", "xx", "", None):
        lang = pa.array([declared], pa.large_string())
        assert scored(ParagraphStopWords(), ENGLISH, lang=lang)[0] == [pytest.approx(13 / 20)]
    assert "lang" not in ParagraphStopWords().reads


def test_a_column_may_name_the_language():
    rule = ParagraphStopWords(language="found")
    assert rule.reads == ("text", "found") and rule.weights() == {} and "weights" in ParagraphStopWords().weights()
    assert scored(rule, GERMAN, GERMAN, GERMAN, found=["de", "en", "xx"])[0] == [0.5, 0.0, 1.0]


def test_paragraph_repetition():
    once = "abcdefghijklmnopqrstuvwxyz"
    scores, reasons = scored(ParagraphCharRepetition(), once, "ha" * 50, "short")
    assert scores[0] == 0 and scores[1] > 0.5 and scores[2] == 0 and reasons == [None, "paragraph_char_repetition", None]
    scores, reasons = scored(ParagraphWordRepetition(), ENGLISH, "buy it now for less " * 4)
    assert scores == [0, 1] and reasons == [None, "paragraph_word_repetition"]


def test_paragraph_word_lists():
    assert scored(ParagraphFlaggedWords(), ENGLISH, "free porn " + ENGLISH)[1] == [None, "paragraph_flagged_words"]
    assert scored(ParagraphFlaggedWords(words=("cat",)), ENGLISH)[0] == pytest.approx([1 / 20])
    assert scored(ParagraphSpamWords(), ENGLISH, "Sign in to subscribe to our newsletter")[1] == [None, "paragraph_spam_words"]


def test_paragraph_links():
    assert scored(ParagraphLinks(), "a", "b", "c", link_share=[0.0, 0.9, None])[1] == [
        None,
        "paragraph_links",
        "paragraph_links",
    ]


@pytest.mark.parametrize(
    "filter",
    [
        ParagraphWords(),
        ParagraphSymbols(),
        ParagraphPunctuation(),
        ParagraphCharRepetition(),
        ParagraphWordRepetition(),
        ParagraphFlaggedWords(),
        ParagraphSpamWords(),
    ],
    ids=lambda f: f.name,
)
def test_a_paragraph_filter_reads_texts_and_a_missing_text_is_a_drop(filter):
    assert filter.table == "texts"
    scores, reasons = scored(filter, ENGLISH, None)
    assert scores[0] is not None and scores[1] is None and reasons == [None, filter.name]
    assert scored(filter)[0] == []


def test_shares_of_characters_are_those_that_a_loop_counts():
    """Slices, nulls, empty texts, characters beyond the first plane: the whole row of code points falls apart into its texts."""
    import unicodedata

    from tests.laws import TEXTS

    texts = [*TEXTS, None, "", "𝔘𝔫𝔦! 👩‍👩‍👧 ١٢", "¡Hola, señor!\u3000\x85\u2028"] * 3
    given = pa.chunked_array([pa.array(texts[:40], pa.large_string()), pa.array(texts[40:], pa.large_string())]).slice(3)
    odd = lambda t: sum(unicodedata.category(c)[0] not in "LM" for c in t)  # noqa: E731
    expected = [None if t is None else odd(t) / len(t) if t else 1.0 for t in texts[3:]]
    assert paragraph_ratios.special(given).to_pylist() == expected
    alone = [paragraph_ratios.punctuation(pa.array([t], pa.large_string()))[0].as_py() for t in texts[3:]]
    assert paragraph_ratios.punctuation(given).to_pylist() == alone


def test_long_texts_are_counted_like_short_ones():
    from collections import Counter

    def slowly(text, n):
        grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        repeated = sorted((c for c in grams.values() if c > 1), reverse=True)[: int(len(grams) ** 0.5)]
        return sum(repeated) / grams.total() if grams else 0.0

    for text in (
        "",
        "short",
        "x" * 199,
        "x" * 200,
        "the cat " * 60,
        "".join(chr(0x4E00 + i * 7 % 300) for i in range(900)),
        "👩‍👩‍👧 family " * 30 + "end",
        "unlike " + "".join(map(chr, range(200, 600))),
    ):
        for n in (1, 3, 10, 400):
            assert paragraph_ratios.character_repetition(text, n) == slowly(text, n), (text[:20], n)
