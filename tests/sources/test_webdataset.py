"""webdataset: folders that others downloaded, whole and damaged; no sample is lost, none is extracted."""

import io
import json
import tarfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.schema import uid
from curate.sources.webdataset import WebDataset


def tar(path, members, form=tarfile.USTAR_FORMAT):
    """A tar of (name, bytes) pairs; a name may also be a ready TarInfo."""
    with tarfile.open(path, "w", format=form) as t:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return str(path)


def sample(key, text="a caption", /, **said):
    files = [(f"{key}.jpg", f"image of {key}".encode()), (f"{key}.txt", text.encode())]
    return [*files, (f"{key}.json", json.dumps(said).encode())] if said else files


def folder(path, n=6):
    """An img2dataset folder: every third download failed."""
    rows, members = [], []
    for i in range(n):
        ok = i % 3 != 2
        row = {
            "url": f"http://a.example/{i}",
            "caption": f"caption {i}",
            "key": f"{i:09d}",
            "status": "success" if ok else "failed_to_download",
            "error_message": None if ok else "HTTP 404",
            "width": 256 if ok else None,
            "sha256": "ab" if ok else None,
            "score": i / 2,
        }
        rows.append(row)
        members += sample(row["key"], row["caption"], **row) if ok else []
    pq.write_table(pa.Table.from_pylist(rows), path / "00000.parquet")
    (path / "00000_stats.json").write_text("{}")
    return tar(path / "00000.tar", members)


def read(paths, size=4):
    source = WebDataset(paths)
    parts = [p["images"] for f in source.files() for p in source.read(f, size)]
    assert all(len(p) == size for p in parts[:-1])
    assert parts[0].column_names[:8] == [*schema.IMAGES, *schema.PAYLOAD]
    return pa.concat_tables(parts, promote_options="permissive")


def bytes_of(table):
    got = []
    for row in table.to_pylist():
        if row["payload"]:
            with open(row["payload"], "rb") as f:
                f.seek(row["payload_offset"])
                got.append(f.read(row["payload_size"]).decode())
        else:
            got.append(None)
    return got


def test_an_img2dataset_folder_with_its_failures(tmp_path):
    name = folder(tmp_path)
    table = read(str(tmp_path))
    assert bytes_of(table) == [f"image of {i:09d}" for i in (0, 1, 3, 4)] + [None, None]
    assert table["drop_reason"].to_pylist() == [None] * 4 + ["source:failed"] * 2
    assert table["url"].to_pylist() == [f"http://a.example/{i}" for i in (0, 1, 3, 4, 2, 5)]
    assert table["text"].to_pylist() == [f"caption {i}" for i in (0, 1, 3, 4, 2, 5)]
    assert table["uid"].to_pylist()[0] == uid("caption 0", "http://a.example/0")
    assert table["source_row"].to_pylist() == list(range(6)) and set(table["source_file"].to_pylist()) == {name}
    extras = table.select(
        ["source_key", "source_sha256", "source_width", "source_score", "source_status", "source_error_message"]
    ).to_pylist()
    assert list(extras[0].values()) == ["000000000", "ab", 256, 0.0, "success", None]
    assert list(extras[5].values()) == ["000000005", None, None, 2.5, "failed_to_download", "HTTP 404"]
    assert WebDataset(str(tmp_path)).adds() == {f.name: f.type for f in table.schema if f.name != "drop_reason"}


def test_a_plain_tar_with_json_and_without(tmp_path):
    own = "0123456789abcdef" * 2
    first, second = sample("x/1", "one", url="http://a/1", n=1, tags=["t"]), sample("x/2", "two", uid=own, n=2.5)
    name = tar(tmp_path / "a.tar", [*first, *second, *sample("3", "")])
    table = read(name)
    assert table["uid"].to_pylist() == [uid("one", "http://a/1"), own, uid("", "a.tar/3")]
    assert table["source_n"].to_pylist() == [1.0, 2.5, None] and table["source_tags"].to_pylist() == ['["t"]', None, None]
    assert table["text"].to_pylist() == ["one", "two", ""] and table["source_key"].to_pylist() == ["x/1", "x/2", "3"]
    assert bytes_of(table) == ["image of x/1", "image of x/2", "image of 3"]


def test_a_caption_only_in_the_json(tmp_path):
    name = tar(tmp_path / "a.tar", [("1.png", b"png"), ("1.json", b'{"caption": "said"}')])
    row = read(name).to_pylist()[0]
    assert row["text"] == "said" and not any("caption" in c for c in row) and row["drop_reason"] is None


def test_where_tars_may_be(tmp_path):
    names = [tar(tmp_path / f"0000{i}.tar", sample(str(i))) for i in range(3)]
    for paths in (str(tmp_path), f"{tmp_path}/*.tar", f"{tmp_path}/{{00000..00002}}.tar", names):
        assert WebDataset(paths).files() == names
    run = tmp_path / "run"
    (run / "shards").mkdir(parents=True)
    (run / "dataset.json").write_text("{}")
    inner = tar(run / "shards/00000.tar", sample("1"))
    assert WebDataset(str(run)).files() == [inner]
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "none", "*.tgz"):
        with pytest.raises(RecipeError, match="no input file"):
            WebDataset(str(tmp_path / nothing)).files()
    with fsspec.open("memory://tars/a.tar", "wb") as f:
        f.write((tmp_path / "00001.tar").read_bytes())
    row = read("memory://tars/*.tar").to_pylist()[0]
    assert row["payload"] == "memory://tars/a.tar" or row["payload"].startswith("memory://")
    with fsspec.open(row["payload"], "rb") as f:
        f.seek(row["payload_offset"])
        assert f.read(row["payload_size"]) == b"image of 1"


def test_a_sample_without_image_and_one_with_an_empty_one(tmp_path):
    name = tar(tmp_path / "a.tar", [("1.txt", b"alone"), ("2.jpg", b""), ("2.txt", b"empty"), *sample("3")])
    table = read(name)
    assert table["drop_reason"].to_pylist() == ["source:no_image", "source:no_image", None]
    assert table["text"].to_pylist() == ["alone", "empty", "a caption"]


def test_duplicate_keys_are_samples_of_their_own(tmp_path):
    name = tar(tmp_path / "a.tar", [*sample("1"), *sample("1"), *sample("2"), *sample("1")])
    table = read(name)
    assert table["drop_reason"].null_count == 4 and len(set(table["uid"].to_pylist())) == 4
    assert len(set(table["payload_offset"].to_pylist())) == 4


def test_a_sidecar_that_promises_more_than_the_tar_has(tmp_path):
    folder(tmp_path)
    tar(tmp_path / "00000.tar", [*sample("000000001", "caption 1"), *sample("new", "unknown", score=7)])
    table = read(str(tmp_path), size=10)
    assert table["source_key"].to_pylist() == ["000000001", "new", *(f"{i:09d}" for i in (0, 2, 3, 4, 5))]
    fault, failed = "source:no_image", "source:failed"
    assert table["drop_reason"].to_pylist() == [None, None, fault, failed, fault, fault, failed]
    assert table["source_score"].to_pylist()[:2] == [0.5, 7.0]


def test_a_tar_cut_short_keeps_what_was_whole(tmp_path):
    name = tar(tmp_path / "a.tar", [*sample("1"), *sample("2"), ("3.jpg", b"x" * 2000), ("3.txt", b"late")])
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: 512 * 10])
    table = read(name)
    assert table["drop_reason"].to_pylist() == [None, None, "source:no_image"]
    (tmp_path / "a.tar").write_bytes(data[: 512 * 7])
    assert read(name)["drop_reason"].to_pylist() == [None, "source:bad_row"]  # its caption is cut off


def test_a_damaged_header_costs_its_own_sample_only(tmp_path):
    name = tar(tmp_path / "a.tar", [*sample("1"), *sample("2", n=1), *sample("3")])
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[512 * 4 + 130] ^= 0x55  # the size field of 2.jpg
    (tmp_path / "a.tar").write_bytes(data)
    table = read(name, size=10)
    assert table["source_key"].to_pylist() == [None, "1", "2", "3"]
    assert table["drop_reason"].to_pylist() == ["source:broken_tar", None, "source:no_image", None]
    data[512 * 4 + 130] ^= 0x55
    data[512 * 6 + 5] ^= 0x55  # the name of 2.txt
    (tmp_path / "a.tar").write_bytes(data)
    assert read(name, size=10)["drop_reason"].to_pylist() == [None, "source:broken_tar", "source:broken_tar", None]


@pytest.mark.parametrize("data", [b"", b"not a tar", b"\x1f\x8b" + b"x" * 2000])
def test_what_is_no_tar_is_named(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(PoolError, match=r"a\.tar: .*not a tar"):
        read(str(tmp_path / "a.tar"))


def test_a_broken_sidecar_is_named(tmp_path):
    folder(tmp_path)
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(PoolError, match=r"00000\.parquet: cannot be read"):
        read(str(tmp_path))


def test_only_regular_files_count_and_nothing_is_unpickled_or_followed(tmp_path):
    link = tarfile.TarInfo("2.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    odd = [("1.pyd", b"cos\nsystem\n(S'false'\ntR."), (link, b""), ("2.txt", b"t"), ("../../3.jpg", b"three")]
    name = tar(tmp_path / "a.tar", [*sample("1"), *odd])
    table = read(name)
    assert table["drop_reason"].to_pylist() == [None, "source:no_image", None]
    assert bytes_of(table) == ["image of 1", None, "three"]


def test_texts_too_long_or_not_text_and_broken_json(tmp_path):
    long, odd = sample("1", "x" * (1 << 20) + "y"), [("2.jpg", b"i"), ("2.txt", b"caf\xe9"), ("3.jpg", b"i"), ("3.json", b"{")]
    name = tar(tmp_path / "a.tar", [*long, *odd, *sample("4")])
    assert read(name)["drop_reason"].to_pylist() == ["source:bad_row"] * 3 + [None]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_dialect(tmp_path, form):
    key = "d" * 90 + "/" + "k" * 95
    name = tar(tmp_path / "a.tar", [*sample(key, url="http://a/ü"), *sample("2")], form)
    assert read(name)["source_key"].to_pylist() == [key, "2"]
    if form != tarfile.USTAR_FORMAT:
        name = tar(tmp_path / "b.tar", [(f"{'ü' * 120}.jpg", b"i"), (f"{'ü' * 120}.txt", b"t")], form)
        table = read(name)
        assert table["source_key"].to_pylist() == ["ü" * 120] and bytes_of(table) == ["i"]


@pytest.mark.parametrize("size", [10**9, 10**18, 2**88 - 1])
def test_a_member_of_an_impossible_size_costs_its_own_sample_only(tmp_path, size):
    path = tar(tmp_path / "a.tar", [*sample("1"), *sample("2"), *sample("3")])
    with open(path, "r+b") as f:
        header = bytearray(f.read()[2048:2560])
        header[124:136] = b"\x80" + size.to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        f.seek(2048)
        f.write(header)
    found = read(path, size=10)
    assert found["source_key"].to_pylist() == ["1", "2", "3"]
    assert found["drop_reason"].to_pylist() == [None, "source:no_image", None]


@pytest.mark.parametrize("record", ["size=%s", "path=x%s.jpg", "comment=%s"])
@pytest.mark.parametrize("length", ["", "9" * 5000])
def test_extended_headers_of_thousands_of_digits_cost_their_sample(tmp_path, record, length):
    said = (record % ("9" * 5000)).encode()
    body = b"%s %s\n" % (length.encode() or str(len(said) + 6).encode(), said)
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(body)
    name = tar(tmp_path / "a.tar", [*sample("1"), (info, body), *sample("2"), *sample("3")])
    reasons = read(name, size=10)["drop_reason"].to_pylist()
    assert reasons[0] is None and reasons[-1] is None and 3 <= len(reasons) <= 4


def test_captions_that_are_no_text_and_sidecars_of_other_samples(tmp_path, caplog):
    name = tar(
        tmp_path / "a.tar",
        [("1.jpg", b"x"), ("1.json", b'{"caption": ["a", "b"]}'), ("2.jpg", b"x"), ("2.json", b'{"text": 5}')],
    )
    table = read(name)
    assert table["text"].to_pylist() == [None, "5"] and table["drop_reason"].to_pylist() == ["source:bad_row", None]
    pq.write_table(pa.table({"key": ["000000001"], "caption": ["x"], "status": ["success"]}), tmp_path / "a.parquet")
    read(name)
    assert "a.parquet: none of its keys, like '000000001', is that of a sample in the tar" in caplog.text


def test_a_size_below_zero_is_a_broken_header(tmp_path):
    """int() takes b"-0001000", and a member of -512 bytes would be followed by itself."""
    path = tar(tmp_path / "a.tar", [*sample("a"), *sample("b")])
    with open(path, "r+b") as f:
        header = bytearray(f.read(512))
        header[124:136] = b"-0001000".ljust(12, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        f.seek(1024)
        f.write(header)
    assert read(path)["drop_reason"].to_pylist() == ["source:broken_tar", None, None]


def test_the_columns_are_those_of_the_first_tar_with_a_sample(tmp_path):
    tar(tmp_path / "0.tar", [])
    tar(tmp_path / "1.tar", sample("a", likes=3))
    assert WebDataset(str(tmp_path)).adds()["source_likes"] == pa.int64()
    (tmp_path / "1.tar").unlink()
    assert "source_key" in WebDataset(str(tmp_path)).adds()


def test_a_byte_order_mark_is_no_text(tmp_path):
    mark = "\ufeff".encode()
    members = [("a.jpg", b"x"), ("a.txt", mark + b"hi"), ("a.json", mark + b'{"likes": 3}')]
    table = read(tar(tmp_path / "a.tar", members))
    assert (table["text"].to_pylist(), table["source_likes"].to_pylist(), table["drop_reason"].to_pylist()) == (
        ["hi"],
        [3],
        [None],
    )


def test_members_that_are_not_next_to_each_other_are_put_together(tmp_path, caplog):
    """All pictures first, then all captions; a second sample of a key stays one of its own."""
    members = [(f"{i}.jpg", b"image %d" % i) for i in range(4)] + [(f"{i}.txt", b"caption %d" % i) for i in range(4)]
    file = tar(tmp_path / "a.tar", [*members, *sample("0", "another")])
    rows = read(file, size=5).to_pylist()
    assert [r["text"] for r in rows] == [*(f"caption {i}" for i in range(4)), "another"]
    assert [r["drop_reason"] for r in rows] == [None] * 5
    assert "members of 4 samples are not next to each other" in caplog.text
    one_way = [(r["source_key"], r["text"], r["payload_size"]) for r in rows]
    assert [(r["source_key"], r["text"], r["payload_size"]) for r in read(file, size=4).to_pylist()][:4] == one_way[:4]
