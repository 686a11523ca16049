"""Faces are blurred in the bytes that the shards hold; hashes, formats and every other picture stay right."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from small_run import photo

from curate.fetch.blur_faces import BlurFaces, blurred, parse_boxes
from curate.fetch.pixels import decode
from curate.fetch.stage import Fetch
from curate.filters.sharpness import Sharpness, sharpness
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.sources.tarindex import members, samples
from curate.sources.webdataset import WebDataset
from curate.upkeep.check import check

BOX = [0.25, 0.25, 0.5, 0.75]


def busy(height=120, width=160) -> np.ndarray:
    return np.kron(np.random.default_rng(0).integers(256, size=(height // 4, width // 4, 3)), np.ones((4, 4, 1))).astype(
        np.uint8
    )


def encoded(kind: str, exif: int = 0) -> bytes:
    out, tags = io.BytesIO(), Image.Exif()
    tags[0x0112] = exif or 1
    Image.fromarray(busy()).save(
        out, kind, **({"exif": tags, "quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {})
    )
    return out.getvalue()


def pool(path, files: list[tuple[str, bytes, list | None]]) -> str:
    with tarfile.open(path / "pool.tar", "w") as tar:
        for i, (suffix, data, boxes) in enumerate(files):
            said = {"url": f"http://a.example/{i}", **({"face_bboxes": boxes} if boxes is not None else {})}
            for kind, content in ((suffix, data), ("txt", b"a text"), ("json", json.dumps(said).encode())):
                info = tarfile.TarInfo(f"{i:05d}.{kind}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return str(path / "pool.tar")


def kept(made) -> dict[str, tuple[str, bytes, dict]]:
    """url -> (suffix, bytes, record) of every sample in the shards."""
    found = {}
    for tar in made.tars:
        with open(tar, "rb") as f:
            for sample in samples(members(f, tar)):
                parts = {}
                for suffix, member in sample.members.items():
                    f.seek(member.offset)
                    parts[suffix] = f.read(member.size)
                record = json.loads(parts["json"])
                (suffix,) = set(parts) - {"json", "txt"}
                found[record["url"]] = suffix, parts[suffix], record
    return found


def test_the_box_is_blurred_and_the_rest_is_not():
    picture = busy()
    out = blurred(picture, [BOX], 0.1)
    inside, far = np.s_[30:90, 40:80], np.s_[:, 130:]
    assert out[inside].std() < picture[inside].std() / 2.5 and (out[far] == picture[far]).all() and picture is not out
    assert (blurred(picture, [[0.9, 0.9, 1.4, 1.2], [-1.0, -1.0, -0.9, -0.9]], 0.1)[:60] == picture[:60]).all()
    assert (blurred(picture, [[0.0, 0.0, 1.0, 1.0]], 0.1).astype(int) - picture).std() > 20


def test_what_lies_beyond_the_picture_is_no_work():
    """Nor does it make the blur wider: its cost grows with its sigma."""
    picture = busy()
    assert (blurred(picture, [[0.5, -1, 2, 2]], 0.1) == blurred(picture, [[0.5, 0, 1, 1]], 0.1)).all()


def test_shards_hold_blurred_faces_and_everything_else_as_it_came(tmp_path):
    files = [
        ("jpg", encoded("JPEG"), [BOX]),
        ("png", encoded("PNG"), [BOX, [0.7, 0.1, 0.9, 0.4]]),
        ("webp", encoded("WEBP"), [BOX]),
        ("jpg", encoded("JPEG"), []),
        ("png", photo(5, "PNG"), None),
        ("gif", encoded("GIF"), [BOX]),
        ("jpg", encoded("JPEG", 6), [BOX]),
    ]
    recipe = load("datacomp_none").build(WebDataset([pool(tmp_path, files)]), blur_faces="source_face_bboxes", shard_size=4)
    made = run(recipe, str(tmp_path / "run"), engine="local", part_size=3)
    found = kept(made)
    assert [found[f"http://a.example/{i}"][0] for i in range(7)] == ["jpg", "png", "webp", "jpg", "png", "png", "jpg"]
    for i, (_, data, boxes) in enumerate(files):
        _, mine, record = found[f"http://a.example/{i}"]
        assert record["blur_faces"] == len(boxes or []) and record["sha256"] == hashlib.sha256(data).hexdigest()
        assert record["blur_faces_sha256"] == hashlib.sha256(mine).hexdigest()
        assert (mine == data) == (not boxes)
        if boxes and i != 6:
            assert decode(mine)[45:75, 50:70].std() < 0.5 * decode(data)[45:75, 50:70].std()
    turned = found["http://a.example/6"]
    assert (turned[2]["width"], turned[2]["height"]) == (120, 160) == decode(turned[1]).shape[1::-1]
    # Orientation 6: the box lies on the right of its middle now, and the far end of the picture is as it was.
    upright = np.asarray(Image.open(io.BytesIO(files[6][1])).transpose(Image.Transpose.ROTATE_270), np.int16)
    assert (
        np.abs(decode(turned[1])[140:] - upright[140:]).mean()
        < 12
        < 25
        < np.abs(decode(turned[1])[45:75, 40:80] - upright[45:75, 40:80]).mean()
    )
    assert check(made.store) == []


def test_a_run_goes_on_mends_itself_and_notices_foreign_bytes(tmp_path):
    files = [("jpg", encoded("JPEG"), [BOX]), ("jpg", photo(2), []), ("jpg", encoded("JPEG"), [[0, 0, 1, 1]])]
    source = WebDataset([pool(tmp_path, files)])
    build = lambda: load("datacomp_none").build(source, blur_faces="source_face_bboxes")  # noqa: E731
    first = run(build(), str(tmp_path / "run"), engine="local")
    assert run(build(), str(tmp_path / "run"), engine="local", refetch=True).dataset["root_hash"] == first.dataset["root_hash"]
    (tar,) = (tmp_path / "run" / "work/parts").glob("*/*.tar")
    tar.write_bytes(tar.read_bytes()[:700] + b"x" + tar.read_bytes()[701:])
    mended = run(build(), str(tmp_path / "run"), engine="local", repair=True)
    assert (
        any("payload is lost" in line for line in mended.repaired) and mended.dataset["root_hash"] == first.dataset["root_hash"]
    )
    shard = tmp_path / "run/shards/00000.tar"
    at = shard.read_bytes().index(decode_start := kept(mended)["http://a.example/0"][1][:200])
    shard.write_bytes(shard.read_bytes()[: at + 150] + b"\1" + shard.read_bytes()[at + 151 :])
    assert decode_start and any("SHA-256" in fault for fault in check(mended.store))


def test_faces_that_are_found_are_blurred(tmp_path):
    data = pytest.importorskip("skimage.data")
    out = io.BytesIO()
    Image.fromarray(data.astronaut()).save(out, "JPEG", quality=95)
    recipe = load("datacomp_none").build(
        WebDataset([pool(tmp_path, [("jpg", out.getvalue(), None)])]), blur_faces="faces_boxes"
    )
    made = run(recipe, str(tmp_path / "run"), engine="local")
    ((faces, blurs, (box,)),) = made.sql("select faces, blur_faces, faces_boxes from images").fetchall()
    before, after = (decode(d) for d in (out.getvalue(), kept(made)["http://a.example/0"][1]))
    face = np.s_[int(box[1] * 512) : int(box[3] * 512), int(box[0] * 512) : int(box[2] * 512)]
    assert (
        faces == blurs == 1
        and sharpness(after[face]) < sharpness(before[face]) / 20
        and sharpness(after[300:]) > 0.9 * sharpness(before[300:])
    )
    again = run(
        Recipe(WebDataset([made.store.path("shards")]), [Fetch(), Sharpness()]), str(tmp_path / "again"), engine="local"
    )
    assert check(again.store) == []  # a run's shards are a pool for the next, decoded or not


def test_boxes_in_whatever_form():
    assert parse_boxes(None) == parse_boxes("") == parse_boxes([]) == parse_boxes("[]") == [] and parse_boxes(
        "[[0, 0.5, 1, 1]]"
    ) == parse_boxes([[0, 0.5, 1, 1]]) == [[0, 0.5, 1, 1]]
    assert parse_boxes("[[1, 2]]") is parse_boxes("x") is parse_boxes([["a"] * 4]) is parse_boxes("7") is None


@pytest.mark.parametrize(
    "box",
    [
        [120.0, 120.0, 160.0, 160.0],  # pixels
        [float("nan")] * 4,
        [0.1, 0.1, float("inf"), 0.2],
        [0.4, 0.4, 0.2, 0.2],  # reversed
        [0.4, 0.4, 0.4, 0.6],  # empty
        [-0.4, -0.4, -0.2, -0.2],  # beside the picture
        [1.0, 0.2, 1.5, 0.4],
        [10**400, 0, 1, 1],
    ],
)
def test_a_box_that_would_blur_nothing_is_none(box):
    assert (
        parse_boxes([BOX, box]) is None and parse_boxes(json.dumps([BOX, box])) is None and parse_boxes("[" * 100_000) is None
    )


def test_what_cannot_be_decoded_any_more_is_dropped(tmp_path):
    import pyarrow as pa

    from curate.store.atomic import Store
    from curate.store.payload import Parcel

    store = Store(tmp_path)
    (tmp_path / "work/parts").mkdir(parents=True)
    (tmp_path / "work/parts/x.tar").write_bytes(b"\xff\xd8 no picture")
    live = pa.table(
        {
            "uid": ["0" * 32],
            "faces_boxes": pa.array([[BOX]]),
            "mime": ["image/jpeg"],
            "width": [5],
            "height": [5],
            "payload": ["work/parts/x.tar"],
            "payload_offset": [0],
            "payload_size": [13],
        }
    )
    stage = BlurFaces()
    with open(tmp_path / "out.tar", "wb") as f:
        found = stage.run(live, Parcel(store, f))
    assert stage.judge(found).to_pylist() == ["blur_faces"] and found["payload"].to_pylist() == ["work/parts/x.tar"]
