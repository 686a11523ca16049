"""What is scored is what is trained on: the pixels of every odd picture, in a stage and in open_clip's own training loader."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import webdataset as wds
from documents.page_web import serving
from odd_pictures import CLOSED, EMPTY, ODD, disc, keyed, stray
from PIL import Image, ImageCms, ImageOps

from curate.fetch.image import inspect
from curate.fetch.isolate import Isolated
from curate.fetch.pixels import decode
from curate.fetch.reencode import Resize, flatten
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs
from curate.stage import Filter


@dataclass
class PixelHash(Filter):
    """The SHA-256 of the pixels that stages get."""

    reads = ("image",)
    dtype = pa.large_string()

    def score(self, live, images):
        return [hashlib.sha256(repr(i.shape).encode() + i.tobytes()).hexdigest() for i in images]

    def judge(self, columns):
        return pa.nulls(len(columns), pa.large_string())


def loaded(folder: Path) -> dict[str, np.ndarray]:
    """Caption -> pixels, by the steps of open_clip_train.data.get_wds_dataset."""
    shards = sorted(str(p) for p in folder.glob("*.tar"))
    steps = (
        wds.SimpleShardList(shards),
        wds.tarfile_to_samples(),
        wds.select(lambda s: "txt" in s and bool({"png", "jpg", "jpeg", "webp"} & set(s))),
        wds.decode("pilrgb"),  # without a handler: what it cannot open raises
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.map_dict(image=np.asarray),
        wds.to_tuple("image", "text"),
    )
    return {text: pixels for pixels, text in wds.DataPipeline(*steps)}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"ground": "white", "encode_format": "png", "encode_quality": 1},
        {"reencode": True, "ground": "white"},
        {"resize_mode": "no"},
    ],
    ids=["kept", "ground", "reencode", "resized"],
)
def test_stages_see_what_open_clip_trains_on(how, tmp_path):
    files = ODD | CLOSED | EMPTY
    with serving({"/" + name: data for name, data in files.items()}) as (address, _):
        (tmp_path / "pairs.csv").write_text("url,text\n" + "".join(f"{address}/{name},{name}\n" for name in files))
        recipe = Recipe(
            UrlPairs(str(tmp_path / "pairs.csv")),
            [Fetch(allow_private=("127.0.0.0/8",), robots=False, **how), PixelHash()],
            shards=Shards(size=100),
        )
        made = run(recipe, str(tmp_path / "run"), engine="local")
    rows = made.sql("select text, pixel_hash, drop_reason from images").fetchall()
    seen = {text: hashed for text, hashed, reason in rows if reason is None}
    trained = loaded(tmp_path / "run/shards")
    assert {t: hashlib.sha256(repr(p.shape).encode() + p.tobytes()).hexdigest() for t, p in trained.items()} == seen
    all_opened = how.get("reencode") or how.get("resize_mode")
    assert set(seen) == set(ODD) | (set(CLOSED) if all_opened else set())
    reasons = {text: reason for text, _, reason in rows if reason}
    if not all_opened:
        assert {text: reasons[text] for text in CLOSED} == {
            name: "decode:broken" if name.endswith(".png") else "decode:format" for name in CLOSED
        }
    corner = trained["rgba.png"][0, 0].tolist()
    assert corner == ([255, 255, 255] if how else [0, 0, 0])


@pytest.mark.parametrize("name", ODD)
def test_pixels_are_those_of_the_loader(name):
    with Image.open(io.BytesIO(ODD[name])) as image:
        image.load()
        assert np.array_equal(decode(ODD[name]), np.asarray(image.convert("RGB")))


def test_a_damaged_jpeg_is_what_pillow_makes_of_it():
    """The fast decoder is asked first: it must not see anything that Pillow sees otherwise."""
    random, same, refused = np.random.default_rng(0), 0, 0
    for name in ("plain.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg"):
        for _ in range(40):
            data = bytearray(ODD[name])
            data[random.integers(2, len(data))] = random.integers(256)
            try:
                with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                    image.load()
                    expected = np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError, ValueError):
                expected = None
            if inspect(bytes(data))[0] != "ok":
                continue
            with Isolated() if expected is None else _here() as decoder:
                found = decoder.decode(bytes(data))
            if expected is None:
                assert found == "broken"
                refused += 1
            else:
                assert np.array_equal(found, expected)
                same += 1
    assert same > 60


class _here:
    decode = staticmethod(decode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


# ---- re-encoding: as people see them


def saw(data: bytes, **how) -> np.ndarray:
    return decode(Resize("no", format="png", quality=1, **how)(data)[0])


@pytest.mark.parametrize("name", ["turned.jpg", "long.jpg", "turned.png", "turned.webp", "turned.avif"])
def test_orientation_of_every_format_is_applied_when_its_tag_goes(name):
    data = (ODD | CLOSED)[name]
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = saw(data)
    assert found.shape == (64, 48, 3) and np.abs(found.astype(int) - np.asarray(expected)).max() <= 3
    small, width, height = Resize("keep_ratio", 24, format="png", quality=1)(data)
    assert (width, height) == (24, 32) and decode(small).shape == (32, 24, 3)


@pytest.mark.parametrize(
    "data",
    [
        *(keyed(depth) for depth in (1, 2, 4, 8, 16)),
        keyed(8, 2),
        keyed(16, 2),
        keyed(8, 3),
        disc("RGBA", "PNG"),
        disc("LA", "PNG"),
    ]
    + [disc("P", "PNG"), disc("RGBA", "WEBP", lossless=True), disc("RGBA", "GIF"), disc("RGBA", "AVIF")],
)
def test_transparency_lies_on_white_however_it_is_written(data):
    found = saw(data)
    assert (found[0, 0] >= 254).all() and (found[40, 45] < 230).any()
    assert (flatten(data)[0] == found).all()


def test_half_transparent():
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(out, "PNG")
    assert (saw(out.getvalue()) == 127).all()


def test_sixteen_bits_keep_their_upper_eight():
    assert saw(ODD["grey16.png"])[0, :, 0].tolist() == [x * 900 >> 8 for x in range(64)]
    assert saw(ODD["rgb16.png"])[0, :, 1].tolist() == [0x12] * 64


def test_a_colour_profile_is_applied():
    plain, found = decode(ODD["profile.jpg"]), saw(ODD["profile.jpg"])
    assert np.abs(found.astype(int) - plain[..., ::-1]).mean() < 2  # its red and blue have changed places
    small = decode(Resize("keep_ratio", 24, format="png", quality=1)(ODD["profile.jpg"])[0]).astype(int)
    assert np.abs(small - decode(Resize("keep_ratio", 24, format="png", quality=1)(ODD["plain.jpg"])[0])[..., ::-1]).mean() < 6


@pytest.mark.parametrize(
    "profile", [b"nonsense", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"\0" * 200]
)
def test_a_profile_that_is_srgb_or_none_changes_nothing(profile):
    out = io.BytesIO()
    Image.fromarray(decode(ODD["palette.png"])).save(out, "PNG", icc_profile=profile)
    assert np.array_equal(saw(out.getvalue()), decode(ODD["palette.png"]))


def test_only_what_would_be_another_picture_is_re_encoded():
    how = Resize("no", format="png", quality=1, only=("transparent",))
    opaque = disc("RGB", "PNG")
    rgba = io.BytesIO()
    Image.open(io.BytesIO(opaque)).convert("RGBA").save(rgba, "PNG")
    for data in (ODD["plain.jpg"], opaque, rgba.getvalue(), CLOSED["gif.gif"], ODD["turned.png"]):
        assert how(data)[0] is data
    assert how(ODD["rgba.png"])[0] != ODD["rgba.png"]
    with Isolated() as child:
        assert child.resize(how, opaque) == ("ok", 96, 80, opaque)


@pytest.mark.parametrize("junk", [b"\0\0", b"\n", bytes(700), b"\xff", b"\xff\xff\xff", b"\xff\0", b"abc"])
@pytest.mark.parametrize("at_scan", [False, True])
def test_bytes_between_the_segments_of_a_jpeg_are_skipped_as_decoders_do(junk, at_scan):
    data = stray(at_scan, junk)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    assert inspect(data)[0] == "ok" and decode(data).shape == (48, 64, 3)
