"""Parquet as strangers write it: every type through a whole run, and files that ask for more than they are worth."""

import datetime
import decimal
import io
import json
import struct
import tarfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import ToyFetch

from curate.errors import PoolError
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.schema import STR
from curate.sources import columns, parquet
from curate.sources.url_pairs import UrlPairs
from curate.upkeep.check import check

ROWS = 3
#: Whole numbers that are no moment that Python has.
FAR = [2**62, None, 5]


def viewed(kind: pa.DataType) -> pa.Array:
    return pa.array(FAR, pa.int64()).view(kind)


ARROW = {
    "null": pa.nulls(ROWS),
    "bool": pa.array([True, None, False]),
    **{str(k): pa.array([1, None, 2], k) for k in (pa.int8(), pa.int16(), pa.uint32(), pa.int64(), pa.float32(), pa.float64())},
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "halffloat": pa.array([0.5, None, 1], pa.float16()),
    "nan": pa.array([float("nan"), None, float("inf")]),
    "decimal128": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(-1)], pa.decimal128(38, 2)),
    "decimal256": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(-1)], pa.decimal256(76, 2)),
    "date32": pa.array([2**31 - 1, None, 5], pa.int32()).view(pa.date32()),
    "date64": pa.array([datetime.date(2020, 1, 1), None, datetime.date(1, 1, 1)], pa.date64()),
    **{
        f"timestamp {u} {tz}": viewed(pa.timestamp(u, tz))
        for u in ("ms", "us")
        for tz in (None, "UTC", "Mars/Phobos", "+05:30")
    },
    "timestamp ns": pa.array([10**18 + 1, None, 5], pa.int64()).view(pa.timestamp("ns")),
    "time32": pa.array([5, None, 0], pa.time32("ms")),
    "time64": pa.array([5, None, 0], pa.time64("ns")),
    "duration": viewed(pa.duration("us")),
    "string": pa.array(["ü", None, ""]),
    "no utf8": pa.array([b"caf\xe9", None, b"x"]).view(pa.string()),
    "string view": pa.array(["ü", None, ""], pa.string_view()),
    "binary": pa.array([b"\xff", None, b""]),
    "fixed binary": pa.array([b"\xff\x00", None, b"ab"], pa.binary(2)),
    "list": pa.array([[1, None], None, []]),
    "list of strings": pa.array([["a", None], None, [""]]),
    "list of lists": pa.array([[[0.5]], None, [None, []]]),
    "fixed list": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "list of dates": pa.array([[datetime.date(2020, 1, 1)], None, []]),
    "list of structs": pa.array([[{"a": 1}], None, []]),
    "struct": pa.array([{"uid": "u", "kept": True, "b": b"\xff", "t": datetime.datetime(2020, 1, 1)}, None, {"uid": None}]),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None, b"1" * 16], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None, "[]"])),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), (2,)), pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2))
    ),
}
SQL = """true; 1::utinyint; (-1)::hugeint; 2::uhugeint; 1.5::decimal(9, 2); 'x'::varchar; '\\xFF'::blob; '101'::bit; date '0044-03-15 (BC)';
    timestamp 'infinity'; timestamp '290000-01-01'; timestamp_ns '2020-01-01 00:00:00.000000001'; timestamptz '2020-01-01 00:00:00+02';
    time '12:00'; '12:00:00+02'::timetz; interval '1 month'; uuid(); '{"a": [1]}'::json; [1, 2]; [[1.5]]; [date '2020-01-01']; [1.5, 2.5]::float[2];
    {'a': 1, 'b': {'c': 'x'}}; map {'k': 1}; 'a'::enum('a', 'b'); union_value(n := 1)""".split(";")


def of_duckdb(path) -> None:
    named = ", ".join(f"{value.strip()} as c{i}" for i, value in enumerate(SQL))
    duckdb.sql(f"copy (select {named} from range({ROWS})) to '{path}' (format parquet)")


def of_pandas(path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "when": pandas.to_datetime(["2020-01-01", None, "1700-01-01"]),
            "zoned": pandas.to_datetime(["2020-01-01"] * ROWS).tz_localize("Europe/Paris"),
            "took": pandas.to_timedelta([1, None, 2], "s"),
            "kind": pandas.Categorical(["a", None, "b"]),
            "n": pandas.array([1, None, 3], "Int64"),
            "objects": [{"a": 1}, None, {"a": 2}],
        }
    )
    frame.to_parquet(path)


def listed(path, more: pa.Table, first: int = 0) -> None:
    base = {"url": [f"http://a/{i}1.jpg" for i in range(first, first + ROWS)], "text": ["a caption of words"] * ROWS}
    pq.write_table(pa.table({**base, **{c: more[c] for c in more.column_names}}), path)


def same(folder, source: UrlPairs) -> list[dict]:
    """The rows of a run over the list: the same in the ledger, in SQL, in the shards, and `check` finds nothing."""
    made = run(Recipe(source, [ToyFetch(fails="ok")], shards=Shards(size=5), name="x"), str(folder), engine="local")
    assert made.problems == [] and check(made.store) == []
    names = [
        c for c in made.sql("from images limit 0").columns if c.startswith("source_") and c not in ("source_file", "source_row")
    ]
    listed = ", ".join(f'"{n}"' for n in names)
    rows = made.sql(f"select uid, kept, drop_reason, {listed} from images order by source_file, source_row").to_arrow_table()
    ledger = [r for n in made.store.names("ledger/images") for r in made.store.table(f"ledger/images/{n}").to_pylist()]
    assert [str(r.get(n)) for r in rows.to_pylist() for n in names] == [str(r.get(n)) for r in ledger for n in names]
    shards = {r["uid"]: r for n in made.dataset["shards"] for r in made.store.table(f"shards/{n['name']}.parquet").to_pylist()}
    inside = [n for n in names if n in next(iter(shards.values()))]
    kept = [r for r in rows.to_pylist() if r["kept"]]
    assert len(kept) == len(shards) and set(names) - set(inside) <= {
        n for n in names if "binary" in n or "fixed list" in n or n in VECTORS
    }
    assert [[str(r[n]) for n in inside] for r in kept] == [[str(shards[r["uid"]][n]) for n in inside] for r in kept]
    for tar in made.tars:
        with tarfile.open(tar) as t:
            assert all(json.loads(t.extractfile(m).read()) for m in t if m.name.endswith(".json"))
    return rows.to_pylist()


#: Columns of vectors and bytes by the names that the writers below give them: they are not in the shards.
VECTORS = {"source_c6", "source_c15", "source_c21"}


def test_every_type_of_arrow(tmp_path):
    listed(tmp_path / "l.parquet", pa.table(ARROW))
    rows = same(tmp_path / "run", UrlPairs(str(tmp_path / "l.parquet")))
    assert [r["drop_reason"] for r in rows] == ["source:bad_row", None, None]  # what is no UTF-8
    first = rows[0]
    assert first["source_uuid"] == "30303030-3030-3030-3030-303030303030" and first["source_json"] == '{"a":1}'
    assert first["source_timestamp us UTC"] is None and rows[2]["source_timestamp us None"] == datetime.datetime(
        1970, 1, 1, 0, 0, 0, 5
    )
    assert json.loads(first["source_struct"])["b"] == "ff" and first["source_dictionary"] == "a"
    assert first["source_list"] == [1, None] and first["source_list of dates"] == '["2020-01-01"]'


@pytest.mark.parametrize("writer", [of_duckdb, of_pandas])
def test_every_type_of_other_writers(tmp_path, writer):
    writer(tmp_path / "x.parquet")
    listed(tmp_path / "l.parquet", pq.read_table(tmp_path / "x.parquet"))
    assert {r["drop_reason"] for r in same(tmp_path / "run", UrlPairs(str(tmp_path / "l.parquet")))} == {None}


def test_a_column_of_another_type_in_each_file_is_text_in_all_of_them(tmp_path):
    """Lists, numbers, booleans, moments under one name; names that differ in case; numbers of two kinds stay numbers."""
    kinds = [n for n in ARROW if n not in ("binary", "fixed binary", "fixed list", "no utf8")]
    (tmp_path / "in").mkdir()
    for shift in range(3):
        turned = {f"{'C' if shift else 'c'}{i}": ARROW[kinds[(i + 7 * shift) % len(kinds)]] for i in range(len(kinds))}
        turned["n"] = pa.array([1, None, 2], (pa.int8(), pa.int64(), pa.float32())[shift])
        turned["x"] = pa.array([2**64 - 1 if shift else 1] * 3, pa.uint64() if shift else pa.int64())
        listed(tmp_path / "in" / f"{shift}.parquet", pa.table(turned), 10 * shift)
    rows = same(tmp_path / "run", UrlPairs(str(tmp_path / "in")))
    assert [r["source_n"] for r in rows] == [1.0, None, 2.0] * 3
    assert [r["source_x"] for r in rows] == ["1"] * 3 + ["18446744073709551615"] * 6
    assert sum(n.startswith("source_c") for n in rows[0]) == len(kinds) and not any(n.startswith("source_C") for n in rows[0])


def test_json_lines_of_two_types_are_the_same_everywhere(tmp_path):
    (tmp_path / "in").mkdir()
    for n, (value, tag) in enumerate([("false", '"Tag":"x"'), ("0.3", '"tag":["y"]'), ('"no"', '"TAG":null')]):
        (tmp_path / f"in/{n}.jsonl").write_text(f'{{"url":"http://a/{n}1.jpg","text":"t","nsfw":{value},{tag}}}\n')
    rows = same(tmp_path / "run", UrlPairs(str(tmp_path / "in")))
    assert [r["source_nsfw"] for r in rows] == ["false", "0.3", "no"] and [r["source_Tag"] for r in rows] == [
        "x",
        '["y"]',
        None,
    ]


# ---- files that ask for more than they are worth


def base(**more: pa.Array) -> pa.Table:
    return pa.table({"url": [f"http://a/{i}" for i in range(10)], "text": [f"caption {i}" for i in range(10)], **more})


def written(table: pa.Table, **how) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **how)
    return out.getvalue()


def dictionary_bomb(size: int, rows: int, limit: int = 1 << 30) -> bytes:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))
    table = pa.table({"url": [f"http://a/{i}" for i in range(rows)], "text": text})
    return written(table, compression="zstd", use_dictionary=["text"], store_schema=False, dictionary_pagesize_limit=limit)


def nested_footer(depth: int) -> bytes:
    """A footer with a chain of groups, in thrift's compact form."""

    def number(n: int) -> bytes:
        out = b""
        while True:
            out += bytes([n & 127 | (128 if n > 127 else 0)])
            n >>= 7
            if not n:
                return out

    signed = lambda n: number(n << 1 ^ n >> 63)  # noqa: E731
    text = lambda b: number(len(b)) + b  # noqa: E731
    elements = b"\x48" + text(b"schema") + b"\x15" + signed(2) + b"\0"
    elements += b"\x15" + signed(6) + b"\x25" + signed(0) + b"\x18" + text(b"url") + b"\0"
    elements += (b"\x35" + signed(1) + b"\x18" + text(b"g") + b"\x15" + signed(1) + b"\0") * depth
    elements += b"\x15" + signed(6) + b"\x25" + signed(1) + b"\x18" + text(b"leaf") + b"\0"
    meta = b"\x15" + signed(1) + b"\x19\xfc" + number(depth + 3) + elements + b"\x16" + signed(0) + b"\x19\x0c\0"
    return b"PAR1" + meta + struct.pack("<I", len(meta)) + b"PAR1"


def outcome(path, data: bytes) -> tuple[list[str | None], str]:
    """The reasons of the rows that are read, and what the error says behind them."""
    path.write_bytes(data)
    source, found = UrlPairs(str(path)), []
    try:
        for part in source.read(str(path), 10_000):
            found += part["images"]["drop_reason"].to_pylist()
    except PoolError as e:
        return found, str(e)
    return found, ""


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
def test_values_that_many_rows_share_are_there_once(tmp_path, size):
    """A file of some kB, 20 GB when unpacked."""
    assert outcome(tmp_path / "p.parquet", dictionary_bomb(size, 2000)) == (["source:bad_row"] * 2000, "")


def test_one_long_value_costs_its_row(tmp_path):
    table = base().set_column(1, "text", pa.array(["y" * 50_000_000, *["x"] * 8, "z" * 1_000_000]))
    assert outcome(tmp_path / "p.parquet", written(table)) == (["source:bad_row"] + [None] * 9, "")


@pytest.mark.parametrize("depth", [200, 5000, 200_000])
def test_a_footer_of_any_depth_costs_its_file(tmp_path, depth):
    assert "p.parquet: cannot be read from row 0 on: " in outcome(tmp_path / "p.parquet", nested_footer(depth))[1]


def test_what_needs_too_much_memory_costs_its_file_from_that_row_on(tmp_path):
    """Values in lists, which are read whole."""
    path = tmp_path / "p.parquet"

    def tagged(value: str, count: int, rows: int) -> pa.Table:
        values = pa.DictionaryArray.from_arrays(pa.array([0] * count * rows, pa.int32()), pa.array([value]))
        return base().slice(0, rows).append_column("tags", pa.ListArray.from_arrays(range(0, count * rows + 1, count), values))

    good = tagged("x", 1, 10)
    with pq.ParquetWriter(path, good.schema, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False) as out:
        out.write_table(good)
        out.write_table(tagged("y" * 10_000_000, 400, 1))
    found, error = outcome(path, path.read_bytes())
    assert found == [None] * 10 and "from row 10 on: its rows need more than 3 GiB of memory" in error


def test_files_that_lie_are_named(tmp_path):
    good = written(base())
    for data in (b"", b"PAR1", good[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1", good[:100], good[100:]):
        assert "p.parquet: cannot be read from row 0 on" in outcome(tmp_path / "p.parquet", data)[1]


def test_too_many_columns_are_refused_with_the_number(tmp_path):
    more = {f"c{i}": pa.nulls(10, pa.int8()) for i in range(parquet.COLUMNS)}
    found = outcome(tmp_path / "p.parquet", written(base(**more)))
    assert "1,002 columns, more than 1,000; leave some out (--without)" in found[1]


def test_fields_of_structs_are_captions(tmp_path):
    path = str(tmp_path / "p.parquet")
    meta = pa.array([{"caption": f"deep {i}", "in": {"url": f"http://b/{i}"}} for i in range(10)])
    pq.write_table(pa.table({"meta": meta}), path)
    source = UrlPairs(path, url="meta.in.url", text="meta.caption")
    (part,) = [p["images"] for p in source.read(path, 100)]
    assert part["text"].to_pylist()[3] == "deep 3" and part["url"].to_pylist()[3] == "http://b/3"
    assert json.loads(part["source_meta"].to_pylist()[0])["caption"] == "deep 0" and part.column_names.count("source_meta") == 1
    lines = tmp_path / "p.jsonl"
    lines.write_text('{"meta":{"caption":"deep","in":{"url":"http://b/0"}}}\n{"meta":{"caption":["no text"]}}\n{"meta":5}\n')
    (part,) = [p["images"] for p in UrlPairs(str(lines), url="meta.in.url", text="meta.caption").read(str(lines), 100)]
    assert part["text"].to_pylist() == ["deep", None, None]
    assert part["drop_reason"].to_pylist() == [None, "source:bad_row", "fetch:bad_url"]


def test_every_type_has_a_plain_one():
    for name, array in ARROW.items():
        made, bad = columns.carry(array)
        assert len(made) == ROWS and bad.any() == (name == "no utf8") and made.is_null()[1].as_py(), name
        assert columns.as_text(made)[0].type == STR and str(columns.carry(made)[0]) == str(made), name
