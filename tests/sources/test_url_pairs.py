"""url_pairs: every format, every fault; no row is lost."""

import gzip
import json
import tracemalloc

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.sources.url_pairs import UrlPairs

ROWS = [{"url": f"http://a.example/{i}.jpg", "text": f"caption {i}, ünï", "score": i / 2} for i in range(7)]


def read(source: UrlPairs, size: int = 3) -> pa.Table:
    parts = [p["images"] for f in source.files() for p in source.read(f, size)]
    assert all(len(p) == size for p in parts[:-1]) and all(p.schema == parts[0].schema for p in parts)
    assert parts[0].column_names[:5] == list(schema.IMAGES)
    return pa.concat_tables(parts)


def write(path, rows=ROWS):
    """Rows as a file, by its extension."""
    name, table = str(path), pa.Table.from_pylist(rows)
    lines = "".join(json.dumps(r) + "\n" for r in rows)
    tab = "\t" if ".tsv" in name else ","
    quoted = [tab.join(rows[0])] + [tab.join("" if v is None else f'"{v}"' for v in r.values()) for r in rows]
    text = (lines if ".json" in name else "\n".join(quoted)).encode()
    if name.endswith(".parquet"):
        pq.write_table(table, name, row_group_size=2)
    elif name.endswith(".zst"):
        with pa.CompressedOutputStream(name, "zstd") as f:
            f.write(text)
    else:
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return name


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl", "csv.gz", "tsv.zst", "jsonl.gz", "jsonl.zst"])
def test_each_format_gives_the_same_rows_in_parts_of_the_size_asked_for(tmp_path, ending):
    name = write(tmp_path / f"pairs.{ending}")
    source = UrlPairs(name)
    table = read(source)
    assert table["url"].to_pylist() == [r["url"] for r in ROWS]
    assert table["text"].to_pylist() == [r["text"] for r in ROWS]
    assert [float(v) for v in table["source_score"].to_pylist()] == [r["score"] for r in ROWS]
    assert table["uid"].to_pylist() == [schema.uid(r["text"], r["url"]) for r in ROWS]
    assert table["source_row"].to_pylist() == list(range(7)) and set(table["source_file"].to_pylist()) == {name}
    assert table["drop_reason"].null_count == 7
    assert source.adds() == source.columns(name) == {f.name: f.type for f in table.schema if f.name != "drop_reason"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "csv.gz"])
def test_a_byte_order_mark_says_how_a_list_is_written(tmp_path, ending, encoding):
    name = write(tmp_path / f"pairs.{ending}")
    unpack, pack = (gzip.decompress, gzip.compress) if ending.endswith("gz") else (bytes, bytes)
    plain, path = read(UrlPairs(name)), tmp_path / f"pairs.{ending}"
    path.write_bytes(pack(unpack(path.read_bytes()).decode().encode(encoding)))
    assert read(UrlPairs(name)).equals(plain)


@pytest.mark.parametrize("start", ["[{", "[\n  {", "\ufeff [{"])
def test_an_array_of_json_is_read(tmp_path, start):
    (tmp_path / "l.json").write_text(f'{start}"url": "http://a.example/1.jpg", "text": "x"}}]', encoding="utf-8")
    assert read(UrlPairs(str(tmp_path / "l.json")))["text"].to_pylist() == ["x"]


def test_globs_folders_lists_and_other_file_systems(tmp_path):
    names = [write(tmp_path / f"{n}.csv") for n in "ba"]
    assert UrlPairs(f"{tmp_path}/*.csv").files() == UrlPairs(str(tmp_path)).files() == UrlPairs(names).files() == sorted(names)
    with fsspec.open("memory://pool/x.csv", "wb") as f:
        f.write((tmp_path / "a.csv").read_bytes())
    assert len(read(UrlPairs("memory://pool/*.csv"))) == 7
    with pytest.raises(RecipeError, match=r"none\.csv"):
        UrlPairs(f"{tmp_path}/none.csv").files()
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(RecipeError, match=r"a\.xlsx.*\.parquet"):
        UrlPairs(f"{tmp_path}/a.xlsx").files()


def test_a_missing_column_is_named_with_those_there_are_and_the_nearest(tmp_path):
    name = write(tmp_path / "p.parquet", [{"URL": "http://a/", "TEXT": "x", "caption_2": "y"}])
    with pytest.raises(RecipeError, match=r"p\.parquet: no column 'url'.*URL, TEXT, caption_2; did you mean 'URL'"):
        UrlPairs(name).columns(name)
    with pytest.raises(RecipeError, match="did you mean 'caption_2'"):
        list(UrlPairs(name, url="URL", text="caption").read(name, 10))
    assert read(UrlPairs(name, url="URL", text="TEXT"))["url"].to_pylist() == ["http://a/"]


def test_further_columns_travel_as_source_names_whatever_they_are_called(tmp_path):
    rows = [
        {"u": "http://a/", "t": "x", "sha256": "s", "Text": "old", "source_key": 2, "kept": True, "file": "f", "A": 1, "a": 2}
    ]
    table = read(UrlPairs(write(tmp_path / "p.parquet", rows), url="u", text="t"))
    assert table.select(table.column_names[5:]).to_pylist()[0] == {
        "source_sha256": "s",
        "source_Text": "old",
        "source_source_key": 2,
        "source_kept": True,
        "source_file_": "f",
        "source_A": 1,
        "source_a_": 2,
        "drop_reason": None,
    }


def test_a_name_of_any_characters_and_length_is_a_name(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"url":"http://a/","text":"x","c\\ud800":1,"":2,"a\\u0000b":3,"%s":4}' % ("k" * 10_000))
    names = read(UrlPairs(str(path))).column_names[5:-1]
    assert names == ["source_c\ufffd", "source_", "source_a\ufffdb", "source_" + "k" * 100]


@pytest.mark.parametrize("url", [None, "", "  ", "no url", "ftp://a.example/x", "http://", "data:image/png;base64,xx", "//a/b"])
def test_a_url_that_is_not_one_is_a_row_with_a_reason(tmp_path, url):
    table = read(UrlPairs(write(tmp_path / "p.parquet", [ROWS[0], {**ROWS[1], "url": url}])))
    assert table["drop_reason"].to_pylist() == [None, "fetch:bad_url"]
    assert table["url"].to_pylist()[1] == url


def test_null_text_stays_null_and_has_no_reason(tmp_path):
    table = read(UrlPairs(write(tmp_path / "p.csv", [{**ROWS[0], "text": None}, ROWS[1]])))
    assert table["text"].to_pylist() == [None, ROWS[1]["text"]] and table["drop_reason"].null_count == 2


def test_csv_with_quoted_newlines_bad_rows_and_bad_bytes_loses_nothing_else(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(
        b'url,text\nhttp://a/0,"two\nlines, ""quoted"""\nhttp://a/1\nhttp://a/2,a,b\n\nhttp://a/3,caf\xe9\nhttp://a/4,fine\r\n'
    )
    table = read(UrlPairs(str(path)))
    assert table["text"].to_pylist() == ['two\nlines, "quoted"', None, None, "caf�", "fine"]
    assert table["drop_reason"].to_pylist() == [None, "source:bad_row", "source:bad_row", "source:bad_row", None]
    assert table["source_row"].to_pylist() == [0, 1, 2, 3, 4]


def test_an_endless_csv_field_is_one_fault_and_memory_stays_bounded(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('url,text\nhttp://a/0,x\nhttp://a/1,"' + "y" * 300_000 + "\nhttp://a/2,z\n")
    table = read(UrlPairs(str(path)))
    assert table["drop_reason"].to_pylist()[:2] == [None, "source:bad_row"]
    assert table["url"].to_pylist()[-1] == "http://a/2"


def test_json_lines_with_lines_that_are_not_json_and_columns_that_come_late(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [
        '{"url":"http://a/0","text":"x","n":1}',
        "not json",
        '{"url":"http://a/1","text":7,"n":2.5,"late":{"a":[1]}}',
        "[1]",
        '{"url":"http://a/2","text":"\\ud800","late":"s","big":123456789012345678901}',
    ]
    path.write_text("\n".join(lines))
    table = read(UrlPairs(str(path)), size=1)
    assert table["drop_reason"].to_pylist() == [None, "source:bad_row", None, "source:bad_row", "source:bad_row"]
    assert table["source_n"].to_pylist() == [1.0, None, 2.5, None, None] and table["text"].to_pylist()[2] == "7"
    assert table["source_late"].to_pylist() == [None, None, '{"a": [1]}', None, "s"]
    assert table["source_big"].to_pylist()[4] == "123456789012345678901"


@pytest.mark.parametrize("ending", ["parquet", "csv.gz", "jsonl.zst"])
def test_a_file_cut_short_is_named_with_the_row_reached(tmp_path, ending):
    rows = [{"url": f"http://a/{i}", "text": f"{i * 7919}"} for i in range(5000)]
    path = tmp_path / f"p.{ending}"
    write(path, rows)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(PoolError, match=rf"p\.{ending}: cannot be read from row \d+ on"):
        read(UrlPairs(str(path)), size=100)


def test_a_broken_parquet_page_is_named_with_the_row_reached(tmp_path):
    path = tmp_path / "p.parquet"
    table = pa.table({"url": [f"http://a/{i}" for i in range(1000)], "text": ["x" * 50] * 1000})
    pq.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    parts, source = [], UrlPairs(str(path))
    with pytest.raises(PoolError, match=r"from row [3-6]00 on"):
        for part in source.read(str(path), 100):
            parts.append(part)
    assert len(parts) >= 3


def test_types_are_plain_and_extension_types_that_may_be_code_are_refused(tmp_path):
    path = str(tmp_path / "p.parquet")
    nested = pa.array([[[0.0, 1.0]]], pa.list_(pa.list_(pa.float64())))
    base = {"url": pa.array(["http://a/"]).dictionary_encode(), "text": pa.array([b"bytes"], pa.binary())}
    pq.write_table(pa.table({**base, "boxes": nested, "raw": pa.array([b"\xff"], pa.binary())}), path)
    table = read(UrlPairs(path))
    assert table.schema.field("url").type == table.schema.field("text").type == pa.large_string()
    assert table["source_boxes"].to_pylist() == [[[0.0, 1.0]]] and table.schema.field("source_raw").type == pa.large_binary()
    odd = pa.field("odd", pa.binary(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    fields = pa.schema([("url", pa.string()), ("text", pa.string()), odd])
    pq.write_table(pa.table([["http://a/"], ["x"], [b"cos\nsystem"]], schema=fields), path)
    with pytest.raises(PoolError, match=r"'odd' has the extension type 'arrow.py_extension_type'.*--without odd"):
        UrlPairs(path).columns(path)
    assert "source_odd" not in read(UrlPairs(path, without=("odd",))).column_names
    with pytest.raises(RecipeError, match="'boxes' holds list"):
        pq.write_table(pa.table({**base, "boxes": nested}), path)
        UrlPairs(path, text="boxes").columns(path)


def test_invalid_utf8_in_parquet_is_a_row_with_a_reason(tmp_path):
    path = str(tmp_path / "p.parquet")
    text = pa.array([b"fine", b"caf\xe9", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"url": ["http://a/0", "http://a/1", "http://a/2"], "text": text}), path)
    table = read(UrlPairs(path))
    assert table["text"].to_pylist() == ["fine", "caf�", None]
    assert table["drop_reason"].to_pylist() == [None, "source:bad_row", None]


def test_one_huge_row_group_is_read_in_bounded_memory(tmp_path):
    path = str(tmp_path / "p.parquet")
    rows = 200_000
    table = pa.table({"url": [f"http://a.example/{i}" for i in range(rows)], "text": [f"{i}" * 40 for i in range(rows)]})
    pq.write_table(table, path, row_group_size=rows, compression="none", use_dictionary=False)
    whole = table.nbytes
    del table
    before, most = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for part in UrlPairs(path).read(path, 2000):
        assert len(part["images"]) == 2000
        most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < whole / 4 and peak < whole / 4


def test_quotes_of_tsv_that_do_not_close_in_their_line_are_characters(tmp_path):
    path = tmp_path / "p.tsv"
    path.write_text('text\turl\n"Oh" he said\thttp://a/0\n"begin\thttp://a/1\n"with ""tab\t"""\thttp://a/2\nend\thttp://a/3\n')
    table = read(UrlPairs(str(path)))
    assert table["text"].to_pylist() == ['"Oh" he said', '"begin', 'with "tab\t"', "end"]
    assert table["url"].to_pylist() == [f"http://a/{i}" for i in range(4)] and table["drop_reason"].null_count == 4


def test_a_quote_that_nobody_closes_costs_its_line(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('url,text\nhttp://a/0,x\nhttp://a/1,"open\n' + "http://a/2,z\n" * 99)
    assert read(UrlPairs(str(path)))["drop_reason"].to_pylist() == [None, "source:bad_row", *[None] * 99]


def test_a_first_line_that_is_no_header_is_named(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("x" * 200_000 + "\nurl,text\n")
    with pytest.raises(
        RecipeError, match=r"p\.csv: no column 'url' for the image's URL; its columns are: x{60}; choose one with --url"
    ):
        read(UrlPairs(str(path)))
    path.write_text("http://a.example/1.jpg,a dog\nhttp://a.example/2.jpg,a cat\n")
    with pytest.raises(RecipeError, match="its first line is a row: put a line with the names of the columns before it"):
        read(UrlPairs(str(path)))
    path.write_text('"' + "x" * 200_000 + "\nurl,text\n")
    with pytest.raises(PoolError, match=r"p\.csv: cannot be read from row 0 on: its first line is no header"):
        read(UrlPairs(str(path)))
    assert list(UrlPairs(str(path)).adds()) == list(schema.IMAGES)


def test_whole_numbers_that_no_float_holds_stay_exact_beside_floats(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"url":"http://a/0","text":"t","x":9007199254740993,"y":9007199254740993}\n{"url":"http://a/1","text":"t","x":0.5}\n'
    )
    table = read(UrlPairs(str(path)))
    assert table["source_x"].to_pylist() == ["9007199254740993", "0.5"] and table["source_y"].to_pylist() == [
        9007199254740993,
        None,
    ]


def test_utf16_that_does_not_say_so_is_named(tmp_path):
    (tmp_path / "l.csv").write_bytes("url,text\nhttp://a.example/1.jpg,x\n".encode("utf-16-le"))
    with pytest.raises(PoolError, match=r"l\.csv: .*UTF-16 that does not say so; save it as UTF-8"):
        read(UrlPairs(str(tmp_path / "l.csv")))
