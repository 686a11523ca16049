"""Filters that the published recipes need: literal values."""

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.aspect_bucket import AspectBucket
from curate.filters.caption_capitals import CaptionCapitals
from curate.filters.caption_label import CaptionLabel
from curate.filters.grounding import Grounding, expressions, shared
from curate.filters.language import Language
from curate.filters.listed_words import ListedWords
from curate.filters.masked_clip_score import MaskedClipScore, masked
from curate.filters.script_words import ScriptWords


def live(*texts):
    return pa.table({"text": pa.array(texts, pa.large_string())})


def test_listed_words_counts_each_word_once(tmp_path):
    (tmp_path / "words.txt").write_bytes("dog\t12\r\nField\r\n\r\n狗\r\n".encode("utf-8-sig"))
    stage = ListedWords(words=str(tmp_path / "words.txt"))
    stage.load()
    found = stage.run(live("A dog, a Dog in a field!", "dogs", "", None, "狗"))
    assert found["listed_words"].to_pylist() == [2, 0, 0, None, 1]
    (tmp_path / "more.txt").write_text("लड़की\nC++\nNew York\n火山爆发\n", "utf-8")
    stage = ListedWords(words=str(tmp_path / "more.txt"))
    stage.load()
    found = stage.run(live("एक लड़की खड़ी है", "a C++ book", "in New York, new york", "york new", "火山爆发！"))
    assert found["listed_words"].to_pylist() == [1, 1, 1, 0, 1]
    with pytest.raises(RecipeError, match="listed_words"):
        ListedWords().weights()


def test_script_words_counts_two_han_characters_as_one_word():
    found = ScriptWords().run(live("一只橙色的猫", "a red car .", "红色 car", "", None))
    assert found["script_words"].to_pylist() == [3, 3, 2, 0, None]


def test_capitals_want_a_sentence():
    found = CaptionCapitals().run(live("A dog in Paris", "a dog", "THE BEST DEAL", "Ein Hund", "42", None))
    assert found["caption_capitals"].to_pylist() == [0.5, 1, 1, 1, 1, None]


def test_the_same_text_has_one_label():
    a, b, c, d = CaptionLabel().run(live("A dog!", "a  DOG", "two dogs", None))["caption_label"].to_pylist()
    assert a == b != c and len(a) == 16 and d is None


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((640, 480), "576x448"),
        ((100, 100), "512x512"),
        ((300, 9000), "256x1024"),
        ((9000, 300), "1024x256"),
        ((0, 5), None),
        ((None, 5), None),
    ],
)
def test_the_bucket_of_nearest_shape(size, bucket):
    assert AspectBucket().bucket(*size) == bucket


def test_buckets_have_about_as_many_pixels():
    for side in (512, 1024):
        for width, height in AspectBucket(side=side).sizes:
            assert width % 64 == height % 64 == 0 and 0.8 < width * height / side**2 < 1.2 and max(width, height) <= 2 * side
    with pytest.raises(RecipeError, match="side at least a step"):
        AspectBucket(side=32)


def test_masks_have_the_colour_around_them():
    image = np.full((20, 30, 3), 100, np.uint8)
    image[5:10, 6:12] = 255
    clean = masked(image, [[0.2, 0.25, 0.4, 0.5]])
    assert (clean == 100).all() and (image[5:10, 6:12] == 255).all()
    assert (masked(image, [[0, 0, 1, 1]]) == image.reshape(-1, 3).mean(0).astype(np.uint8)).all()
    assert masked(image, [[1, 1, 1, 1]]).shape == image.shape


class Halves:
    """A model whose embedding of an image is its mean red, and what is missing to length 1."""

    def encode_images(self, images):
        red = np.array([i[..., 0].mean() / 255 for i in images], np.float32)
        return np.stack([red, np.sqrt(1 - red**2)], 1)


def test_only_pictures_with_text_are_embedded_again():
    stage = MaskedClipScore()
    stage._clip = Halves()
    image = np.zeros((10, 10, 3), np.uint8)
    image[2:5, 2:5] = 255
    vector = pa.array([[0.6, 0.8]] * 4, pa.list_(pa.float16()))
    text = pa.array([[1, 0], [1, 0], None, [1, 0]], pa.list_(pa.float16()))
    boxes = pa.array([[], [[0.2, 0.2, 0.5, 0.5]], [], None], pa.list_(pa.list_(pa.float32())))
    table = pa.table({"ocr_area_boxes": boxes, "clip_image": vector, "clip_text": text})
    assert stage.run(table, [image] * 4)["masked_clip_score"].to_pylist() == [pytest.approx(0.6, abs=1e-3), 0, None, None]


def test_expressions_grow_over_relations_not_over_and():
    text = "a dog in a field of flowers and a cat"
    assert expressions(text) == [("a dog", 0, 27), ("a field", 9, 27), ("flowers", 20, 27), ("a cat", 32, 37)]
    assert expressions("a lot of love") == [("a lot", 0, 13)]


def test_grounding_keeps_sure_boxes_of_whole_expressions():
    stage = Grounding()
    answers = [
        (0, 0.9, [0, 0, 0.5, 1]),
        (1, 0.8, [0.5, 0, 1, 1]),
        (3, 0.7, [0, 0, 0.45, 1]),
        (3, 0.66, [0.9, 0, 1, 0.1]),
        (3, 0.65, [0, 0.9, 0.1, 1]),
    ]
    stage._detect = lambda images, phrases: [answers]
    found = stage.run(live("a dog in a field of flowers and a cat", None, ""), [np.zeros((4, 4, 3), np.uint8)] * 3)
    assert found["grounding"].to_pylist() == [2, None, 0]
    boxes = found["grounding_boxes"].to_pylist()
    assert [(b["phrase"], b["box"]) for b in boxes[0]] == [
        ("a dog in a field of flowers", [0, 0, 0.5, 1]),
        ("a cat", [pytest.approx(v) for v in (0.9, 0, 1, 0.1)]),
    ]
    assert boxes[1:] == [None, []]
    with pytest.raises(RecipeError, match="python:module:function"):
        Grounding(detector="glip").load()


def test_boxes_end_at_the_edges_of_the_picture():
    stage = Grounding()
    answers = [(0, 0.9, [-0.1, 0.2, 1.1, 0.5]), (1, 0.8, [1.0, 0.2, 1.4, 0.5]), (1, 0.7, [0.3, 0.9, 0.1, 0.95])]
    stage._detect = lambda images, phrases: [answers]
    found = stage.run(live("a dog and a cat"), [np.zeros((4, 4, 3), np.uint8)])
    assert [b["box"] for b in found["grounding_boxes"].to_pylist()[0]] == [[0.0, pytest.approx(0.2), 1.0, 0.5]]


def test_overlap_is_intersection_over_union():
    assert shared([0, 0, 1, 1], [0.5, 0, 1.5, 1]) == pytest.approx(1 / 3) and shared([0, 0, 1, 1], [2, 2, 3, 3]) == 0


def test_any_language_passes_where_none_is_asked_for():
    columns = pa.table(
        {"language": pa.array(["en", "zh", None], pa.large_string()), "language_score": pa.array([1, 0.2, None], pa.float32())}
    )
    assert Language(among=frozenset()).judge(columns).to_pylist() == [None] * 3
    assert Language(among=frozenset({"zh"})).judge(columns).to_pylist() == ["language", None, "language"]
