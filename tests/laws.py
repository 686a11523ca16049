"""Laws that every stage and filter below `curate.filters` obeys, found by walking the package: a new file is checked
without another line.

Each law takes a class; `example` builds one, `tables` seeded random rows of the columns it reads, nasty ones among them.
"""

import dataclasses
import importlib
import json
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pyarrow as pa

import curate.filters
from curate import schema
from curate.stage import Filter, Stage, reasons, snake

#: Types of columns that are in no schema because a source or the user provides them.
PROVIDED = {
    "declared_width": pa.int32(),
    "declared_height": pa.int32(),
    "lang": pa.large_string(),
    "link_share": pa.float32(),
    "doc_uid": pa.large_string(),
    "position": pa.int32(),
    "align": pa.float32(),
    "start": pa.float64(),
    "end": pa.float64(),
    "frame_change": pa.float32(),
}

TEXTS = (
    "",
    " ",
    "\n",
    "a",
    "A dog.",
    "image",
    "IMG_2031.JPG",
    "click here",
    "一只橙色的猫睡在窗台上",
    "猫がいる",
    "고양이",
    "Ein Hund\r\nim Gras",
    "e\u0301te\u0301",
    "  two  words ",
    "x" * 3000,
    "the the the the the the",
    "\u00a0\u2003thin",
    "<b>tag</b>",
    "👩‍👩‍👧 family",
    "\x00null",
    "http://example.com/a?b=c",
    "γάτα",
    "แมว",
    "قط",
    "חתול",
    "1234567890",
    "Photo by Ann, June 2009",
    "a\tb",
    "\ud7ff\ufffd",
    "...",
)


def modules():
    """The modules of curate.filters by the name of their file."""
    return {m.name: importlib.import_module(f"curate.filters.{m.name}") for m in pkgutil.iter_modules(curate.filters.__path__)}


def own(module) -> list[type[Stage]]:
    """The stages that a module defines, without bases of other filters."""
    kinds = [
        v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Stage) and v.__module__ == module.__name__
    ]
    return [k for k in kinds if not any(s.__module__.startswith("curate.filters.") for s in k.__subclasses__())]


def classes() -> dict[str, type[Stage]]:
    """Every stage that a file of curate.filters is named after, by that name."""
    return {name: kind for name, module in modules().items() for kind in own(module) if snake(kind.__name__) == name}


def strays() -> list[str]:
    """Files of curate.filters that define a stage under a name which is not the file's."""
    return [
        f"{name}.py: {kind.__name__}"
        for name, module in modules().items()
        for kind in own(module)
        if snake(kind.__name__) != name
    ]


def types() -> dict[str, pa.DataType]:
    """The type of every column that a filter may read: of the tables, of those that users provide, of those that other filters add."""
    known = {**schema.TEXTS, **schema.DOCUMENTS, **schema.IMAGES, **schema.FETCHED, **PROVIDED}
    for kind in classes().values():
        if not kind.__dataclass_fields__.keys() & {"heads", "column"}:
            known = {**kind().adds(), **known}
    return known


def column(kind: pa.DataType, count: int, rng: np.random.Generator, name: str, nulls: float = 0.1) -> pa.Array:
    """Random values of a type, a share of them null; embeddings have length 1."""
    null = rng.random(count) < nulls
    if pa.types.is_large_string(kind):
        values = [TEXTS[i] for i in rng.integers(len(TEXTS), size=count)]
    elif pa.types.is_boolean(kind):
        values = list(map(bool, rng.integers(2, size=count)))
    elif pa.types.is_integer(kind):
        most = 2 ** min(kind.bit_width - 1, 16) - 1
        values = [int(v) for v in rng.choice([n for n in (0, 1, 2, 3, 9, 64, 199, 200, 5000, 65535) if n <= most], size=count)]
    elif pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        vectors = rng.standard_normal((count, 32))
        values = [v.astype(np.float16) for v in vectors / np.linalg.norm(vectors, axis=1, keepdims=True)]
    elif pa.types.is_list(kind) and pa.types.is_list(kind.value_type):  # boxes
        values = [np.sort(rng.random((int(n), 4)), axis=1).tolist() for n in rng.integers(3, size=count)]
    elif pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        values = [[] for _ in range(count)]
    elif pa.types.is_floating(kind):
        values = list(rng.random(count))
    elif pa.types.is_timestamp(kind):
        values = [int(v) for v in rng.integers(10**12, size=count)]
    else:
        raise TypeError(f"laws.column: no random values of type {kind} yet, for {name}")
    return pa.array([None if n else v for n, v in zip(null, values)], kind)


def rows(stage: Stage, count: int, seed: int) -> pa.Table:
    """Random live rows with the columns a stage reads, and `uid`."""
    rng, known = np.random.default_rng(seed), types()
    uids = pa.array([schema.uid(str(i), str(seed)) for i in range(count)], pa.large_string())
    names = [c for c in dict.fromkeys(stage.reads) if c not in ("image", "bytes", "uid")]
    found = {c: pa.array(range(count)) if c == "source_row" else column(known[c], count, rng, c) for c in names}
    return pa.table({"uid": uids, **found})


def pixels(count: int, seed: int) -> list[np.ndarray]:
    """Pictures of odd shapes: noise, flat ones, gradients, a single pixel."""
    rng = np.random.default_rng(seed)
    shapes = [(1, 1), (1, 40), (40, 1), (17, 33), (64, 48), (90, 120)]
    made = []
    for i in range(count):
        height, width = shapes[int(rng.integers(len(shapes)))]
        noise = rng.integers(256, size=(height, width, 3)).astype(np.uint8)
        flat = np.full((height, width, 3), int(rng.integers(256)), np.uint8)
        ramp = np.repeat(np.linspace(0, 255, width, dtype=np.uint8)[None, :, None], height, 0).repeat(3, 2)
        made.append((noise, flat, ramp)[i % 3])
    return made


def children(live: pa.Table, seed: int) -> dict[str, pa.Table]:
    """Images and paragraphs for documents: none, one or a few each, in no order, some not live; what a source brings is not
    null, but for texts."""
    rng, found = np.random.default_rng(seed), {}
    own, rows_of = ("doc_uid", "position", "uid", "source_row"), {u: i for i, u in enumerate(live["uid"].to_pylist())}
    for table in ("images", "texts"):
        owner = [u for u in live["uid"].to_pylist() for _ in range(int(rng.integers(4)))]
        rng.shuffle(owner)
        count = len(owner)
        found[table] = pa.table(
            {
                "doc_uid": pa.array(owner, pa.large_string()),
                "source_row": pa.array([rows_of[u] for u in owner], pa.int64()),
                "position": pa.array(rng.permutation(count), pa.int32()),
                "live": pa.array(rng.random(count) < 0.8),
                **{c: column(k, count, rng, c, nulls=0.1 * (c == "text")) for c, k in types().items() if c not in own},
            }
        )
    return found


class Bench:
    """One stage with random rows, run on slices of them."""

    def __init__(self, stage: Stage, count: int, seed: int):
        self.stage, self.live = stage, rows(stage, count, seed)
        seen = stage.preprocess.batch if stage.preprocess else list
        self.given = [seen(pixels(count, seed))] if stage.pixels else []
        self.given += [[p.tobytes() for p in pixels(count, seed)]] if "bytes" in stage.reads else []
        self.context = {t: c for t, c in children(self.live, seed).items() if t in stage.context} if stage.context else {}

    def run(self, first: int = 0, last: int | None = None) -> pa.Table:
        piece = slice(first, last)
        live = self.live.slice(first, None if last is None else last - first)
        return self.stage.run(live, *[given[piece] for given in self.given], **self.context)


def many(stage: Stage) -> int:
    """The number of rows to try: fewer for expensive stages."""
    return 12 if stage.pixels else 60


def conservation(stage: Stage) -> None:
    """One row out for each row in, and the declared columns, no other."""
    count = many(stage)
    out = Bench(stage, count, seed=1).run()
    assert len(out) == count and out.column_names == list(stage.adds())
    assert len(stage.judge(out)) == count


def row_locality(stage: Stage) -> None:
    """Running on slices gives the slices of the run. A model may differ in the last bit of float16."""
    count = many(stage)
    bench = Bench(stage, count, seed=2)
    whole, pieces = bench.run(), pa.concat_tables([bench.run(a, b) for a, b in ((0, 1), (1, 7), (7, 7), (7, count))])
    for name, kind in stage.adds().items():
        left, right = whole[name].cast(kind).to_pylist(), pieces[name].cast(kind).to_pylist()
        if not stage.loads:
            assert all(a == b or (a != a and b != b) for a, b in zip(left, right)), name
            continue
        assert [a is None for a in left] == [b is None for b in right], name
        for a, b in zip(left, right):
            if isinstance(a, (float, np.floating)) or (isinstance(a, list) and a and isinstance(a[0], (float, np.floating))):
                np.testing.assert_allclose(
                    np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=2e-3, atol=2e-3, err_msg=name
                )
            else:
                assert a == b, name


def declared_types(stage: Stage) -> None:
    """The columns have the declared types, also for no rows; strings are large."""
    for count in (0, 5):
        out = Bench(stage, count, seed=3).run()
        for name, kind in stage.adds().items():
            assert out[name].type == kind, f"{name} is {out[name].type}, declared as {kind} ({count} rows)"
            assert not pa.types.is_string(kind) and not pa.types.is_binary(kind), f"{name}: 32-bit offsets overflow at 2 GB"


def null_is_a_drop(stage: Stage) -> None:
    """A row without values is dropped, never passed; the reason starts with the stage's name."""
    out = pa.table({n: pa.nulls(3, k) for n, k in stage.adds().items()})
    found = stage.judge(out)
    if isinstance(stage, Filter) or type(stage).judge is not Stage.judge:
        assert found.to_pylist() == [stage.name] * 3
    assert found.type == reasons(pa.array([True]), "x").type


def nothing_known(stage: Stage) -> None:
    """Rows whose columns are all null break nothing."""
    bench = Bench(stage, 4, seed=4)
    for i, name in enumerate(bench.live.column_names):
        if name != "uid":
            bench.live = bench.live.set_column(i, name, pa.nulls(4, bench.live[name].type))
    assert len(bench.run()) == 4


def bounds_are_free(stage: Stage) -> None:
    """Bounds decide who is dropped and nothing else: they are in no fingerprint, and every other parameter is."""
    fields = {f.name for f in dataclasses.fields(stage) if f.init and f.name != "name"}
    assert {"min", "max"} & fields <= set(stage.untracked) <= fields
    assert set(stage.identity()) >= (fields - set(stage.untracked)) | {"class", "version"}
    assert not set(stage.identity()) & set(stage.untracked)


def rebuilt(stage: Stage) -> None:
    """It pickles; its repr and its parameters, as recipe.json has them, make it again."""
    stage = type(stage)(**stage.parameters())  # not loaded: a model is loaded where it is used
    again = [
        pickle.loads(pickle.dumps(stage)),
        eval(repr(stage), {type(stage).__name__: type(stage)}),
        type(stage)(**json.loads(json.dumps(stage.parameters()))),
    ]
    for copy in again:
        assert copy.parameters() == stage.parameters() and copy.identity() == stage.identity()
        assert copy.reads == stage.reads and copy.adds() == stage.adds()


def named(stage: Stage, file: str) -> None:
    """The file names the class, the column and the drop reason; module and class say what the number means."""
    kind = type(stage)
    assert snake(kind.__name__) == file == kind().name if not _needs(kind) else snake(kind.__name__) == file
    if isinstance(stage, Filter):
        assert next(iter(stage.adds())) == stage.name
        other = type(stage)(**{**stage.parameters(), "name": "other"})
        assert next(iter(other.adds())) == "other" and other.judge(
            pa.table({n: pa.nulls(1, k) for n, k in other.adds().items()})
        ).to_pylist() == ["other"]
    assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("), f"{file}: say what the number means"
    assert len(Path(importlib.import_module(kind.__module__).__file__).read_text().splitlines()) <= 300


def _needs(kind: type) -> bool:
    """True if it cannot be built without arguments."""
    return any(
        f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        for f in dataclasses.fields(kind)
    )


LAWS = (conservation, row_locality, declared_types, null_is_a_drop, nothing_known, bounds_are_free, rebuilt)
