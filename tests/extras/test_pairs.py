"""Captions are read as the packages write them; pictures come out the same each time."""

import io
import json

import pytest
from PIL import Image

from curate.extras.demo import readers
from curate.extras.demo.faults import bomb
from curate.extras.demo.pairs import Pair, _pair, _png_pixels, encode, flat, held_out, pairs, sample_photos
from curate.extras.demo.readers import Draft
from curate.models.packages import Missing


def test_captions_add_keywords_that_the_title_does_not_say():
    assert readers.caption("weary face", ["face", "sad", "tired", "sad", "", "a", "b"]) == "weary face (sad, tired, a, b)"
    assert readers.caption("star", ["star"]) == "star"


def test_stamps_read_captions_by_locale(tmp_path):
    root = tmp_path / "usr/share/tuxpaint/stamps/animals"
    root.mkdir(parents=True)
    other = "de.utf8=Ein Känguru.\nzh_CN.utf8=红袋鼠\nen_GB.utf8=A red kangaroo.\nes.utf8=A red kangaroo.\nfr.utf8= \n"
    text = "A red kangaroo.\n" + other
    (root / "kangaroo.txt").write_text(text)
    (root / "kangaroo_mirror.txt").write_text(text)
    (root / "no-picture.txt").write_text(text)
    for name in ("kangaroo.png", "kangaroo_mirror.png"):
        (root / name).touch()
    (draft,) = readers.stamps(tmp_path)
    assert (draft.key, draft.text) == ("animals/kangaroo", "A red kangaroo.")
    assert draft.captions == {"de": "Ein Känguru.", "zh": "红袋鼠"}


def test_clip_art_falls_back_to_the_file_name_where_titles_say_nothing(tmp_path):
    titles = {"red_car_01": "Lemon Theme", "b": "Lemon Theme", "c": "Lemon Theme", "d": "Lemon Theme", "sun": "A &amp; sun"}
    for name, title in titles.items():
        svg, png = tmp_path / f"s/usr/share/openclipart/svg/{name}.svg", tmp_path / f"p/usr/share/openclipart/png/{name}.png"
        for file in (svg, png):
            file.parent.mkdir(parents=True, exist_ok=True)
        png.touch()
        svg.write_text(
            f"<svg><metadata><dc:title>{title}</dc:title><dc:subject><rdf:Bag><rdf:li>toy</rdf:li></rdf:Bag>"
            "</dc:subject></metadata></svg>"
        )
    texts = {d.key: d.text for d in readers.clipart(tmp_path / "s", tmp_path / "p")}
    assert texts == {"red_car_01": "red car (toy)", "sun": "A & sun (toy)"}


def test_java_properties_are_unescaped():
    assert readers._properties("# x\nname#1=Caf\\u00e9 table\nbad line\n") == {"name#1": "Café table"}


def draft(tmp_path, im: Image.Image, suffix: str = ".png") -> Draft:
    (tmp_path / f"a{suffix}").write_bytes(encode(im, suffix))
    return Draft("s", "k", "a thing", "a thing (x)", "CC0-1.0", tmp_path / f"a{suffix}")


def test_pictures_are_kept_scaled_down_or_left_out_by_their_size(tmp_path):
    kept = _pair(draft(tmp_path, Image.new("RGB", (200, 100))))
    assert (kept.width, kept.height, kept.image) == (200, 100, (tmp_path / "a.png").read_bytes())
    assert max(_pair(draft(tmp_path, Image.new("RGB", (2000, 1000)))).width, 0) == 512
    assert _pair(draft(tmp_path, Image.new("RGB", (63, 100)))) is None
    assert _pair(draft(tmp_path, Image.new("RGB", (400, 100)))) is None
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert _pair(Draft("s", "k", "t", "t", "l", tmp_path / "a.png")) is None


def test_a_bomb_is_known_by_its_header(tmp_path):
    data = bomb(10_000)
    assert _png_pixels(data) == 10**8 and len(data) < 50_000
    (tmp_path / "bomb.png").write_bytes(data)
    assert _pair(Draft("s", "k", "t", "t", "l", tmp_path / "bomb.png")) is None


def test_what_is_transparent_becomes_white():
    im = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert flat(im).getpixel((0, 0)) == (255, 255, 255)
    assert Image.open(io.BytesIO(encode(im, ".jpg"))).getpixel((4, 4)) == (255, 255, 255)


def test_the_split_is_by_title_and_about_an_eighth():
    assert held_out("Red apple") == held_out("red  apple!")
    assert 0.10 < sum(held_out(f"thing {n}") for n in range(4000)) / 4000 < 0.15


def test_real_pairs_are_the_same_each_time(demo_web):
    first, fetched = pairs("T", say=lambda line: None)
    again, _ = pairs("T", say=lambda line: None)
    assert first == again and len({p.id for p in first}) == len(first) == 400
    assert all(isinstance(p, Pair) and p.text and p.image for p in first)
    assert sum(len(p.captions) > 10 for p in first) > 150
    assert json.loads(json.dumps(fetched.records()))["openmoji"]["sha256"]


def test_sample_photos_are_different_and_photo_like():
    try:
        photos = sample_photos(20)
    except Missing as e:
        pytest.skip(f"the packages cannot be had here: {e}")
    sizes = [len(p) for p in photos]
    assert len(set(photos)) == 20 and photos == sample_photos(20)
    assert Image.open(io.BytesIO(photos[0])).size == (640, 480) and 30_000 < sum(sizes) / 20 < 120_000
