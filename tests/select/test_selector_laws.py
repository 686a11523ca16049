"""Laws that every selector obeys: neither the order of the rows nor the chunks of the pool decide anything, a decision is pickled, and a pool
of no rows, or of rows without values, is a pool."""

import importlib
import pickle
import pkgutil

import numpy as np
import pyarrow as pa
import pytest

import curate
from curate.balance.budget import Budget
from curate.balance.caps import Caps
from curate.balance.clusters import ClusterBalance
from curate.balance.image_based import ImageBased, NormSim
from curate.balance.metaclip import Balance
from curate.balance.prototypes import Prototypes
from curate.balance.text_based import TextBased
from curate.balance.upsample import Upsample
from curate.dedup.evaluation import Decontaminate
from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.dedup.uid import DuplicateUid
from curate.fetch.shared import SharedFetch, SharedUrl
from curate.select import pool
from curate.select.exchange import frame_of
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.selector import Selector
from curate.store.atomic import Store
from curate.synth.choose import CaptionRepeats, RawElseSynthetic
from curate.synth.matching import MatchingNegatives
from curate.synth.pairs import PairedRow
from tests.dedup.pool import backwards, shown, uid
from tests.dedup.test_near import EDITS, picture

ROWS = 90
DIRECTIONS = np.random.default_rng(0).normal(size=(12, 8))

#: Two of each, where a selector has more than one way.
SELECTORS = {
    "duplicate_uid": lambda f: DuplicateUid(),
    "newest_uid": lambda f: DuplicateUid(newest="number"),
    "exact": lambda f: ExactDedup(by=("score",)),
    "exact_of_site": lambda f: ExactDedup(("host(url)", "lower(text)")),
    "frequency": lambda f: Frequency(max=4),
    "frequency_distinct": lambda f: Frequency(("host(url)",), max=3, distinct="text"),
    "caps": lambda f: Caps(max=3, seed=2),
    "caps_best": lambda f: Caps(("language",), max=9, by=("-score",)),
    "budget": lambda f: Budget({"a": 20, "b": 5}, seed=1),
    "budget_of_words": lambda f: Budget({"a": 200}, cost="number", by=("score",)),
    "upsample": lambda f: Upsample({"en": 2.5, "de": 3}, seed=2),
    "upsample_concepts": lambda f: Upsample(concepts={"cat": 3, "number": 1.5}),
    "upsample_tempered": lambda f: Upsample(temper=0.3, key="host(url)"),
    "where": lambda f: Where("score", min=0.3),
    "where_sql": lambda f: Where(sql="length(text) > 8 and score < 0.9"),
    "top_fraction": lambda f: TopFraction("score", 0.4),
    "shared_url": lambda f: SharedUrl(),
    "shared_fetch": lambda f: SharedFetch("fetch"),
    "balance": lambda f: Balance(["cat", "dog", "tree"], t=5),
    "balance_by_language": lambda f: Balance({"en": ["cat", "dog"], "de": ["tree"]}, language="language", target=30),
    "cluster_balance": lambda f: ClusterBalance(30, "v", clusters=(4,)),
    "cluster_balance_best": lambda f: ClusterBalance(30, "v", by=("score",), centroids=f["npy"]),
    "image_based": lambda f: ImageBased(f["npy"], "v", clusters=5),
    "prototypes": lambda f: Prototypes("v", fraction=0.4, clusters=4),
    "norm_sim": lambda f: NormSim(f["npy"], "v", fraction=0.3),
    "text_based": lambda f: TextBased(f["synsets"], f["wordnet"]),
    "decontaminate": lambda f: Decontaminate({"vectors": f["npy"], "folder": f["folder"]}, column="v", min=0.9, min_words=2),
    "near": lambda f: NearDedup(by=("score",)),
    "semantic": lambda f: SemanticDedup("v", eps=0.2),
    "semantic_hard": lambda f: SemanticDedup("v", eps=0.2, keep="hard", clusters=3, inclusive=False),
    "text": lambda f: TextDedup(min=0.6, bands=32, rows=3),
    "raw_else_synthetic": lambda f: RawElseSynthetic("b", fraction=0.3),
    "caption_repeats": lambda f: CaptionRepeats("caption_b", max=3),
    "matching_negatives": lambda f: MatchingNegatives("v", "text", "v", group=7),
    "paired_row": lambda f: PairedRow("caption_b", by="caption_b"),
    "paired_row_of_the_same": lambda f: PairedRow("language", by="language"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "r.npy", DIRECTIONS[:4].astype(np.float32))
    (folder / "synsets.txt").write_text("n00000001\n")
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"index.{part}").write_text("cat n 1 0 1 1 00000001\n" if part == "noun" else "")
        (folder / f"{part}.exc").write_text("")
    (folder / "set").mkdir()
    (folder / "set/a.txt").write_text("a cat number 3")
    return {
        "npy": str(folder / "r.npy"),
        "synsets": str(folder / "synsets.txt"),
        "wordnet": str(folder),
        "folder": str(folder / "set"),
    }


@pytest.fixture(scope="module")
def table():
    """A pool with a column for everybody: ties, nulls, NaN, copies, near copies."""
    rng = np.random.default_rng(1)
    n = np.arange(ROWS)
    pictures = [picture(int(i) % 20, (48, 64)) for i in n]
    pictures = [EDITS["jpeg" if i % 3 else "mirror"](p) if i >= 20 else p for i, p in zip(n, pictures)]
    hashed = PerceptualHash().run(pa.table({"uid": [uid(int(i)) for i in n]}), pictures)
    vectors = DIRECTIONS[n % 12] + rng.normal(size=(ROWS, 8)) * 0.15
    score = pa.array(
        [None if i % 11 == 0 else float("nan") if i % 13 == 0 else round(float(v), 2) for i, v in zip(n, rng.random(ROWS))]
    )
    columns = {
        # Three parts, as the pool numbers them.
        "id": pa.array((n // 30 << 32) + n % 30, pa.int64()),
        "uid": pa.array([uid(int(i) % 80) for i in n], pa.string()),
        "url": pa.array([None if i % 17 == 0 else f"http://{'abc'[i % 3]}.org/{i % 25}#{i}" for i in n.tolist()]),
        "text": pa.array(
            [None if i % 19 == 0 else f"a {('cat', 'dog', 'tree')[i % 3]} number {i % 40 // 2}" for i in n.tolist()]
        ),
        "caption_b": pa.array([f"made {i % 9}" for i in n.tolist()]),
        "caption_b_score": pa.array(rng.random(ROWS)),
        "clip_score": score,
        "score": score,
        "number": pa.array((n * 7 % 31).astype(np.int32)),
        "language": pa.array([("en", "de", None)[i % 3] for i in n.tolist()]),
        "source_file": pa.array([("x/a/1", "x/b/2", "x/c/3")[i % 3] for i in n.tolist()]),
        "v": pa.array(
            [None if i % 23 == 0 else v.astype(np.float16) for i, v in zip(n.tolist(), vectors)], pa.list_(pa.float16())
        ),
        "original_width": pa.array(np.full(ROWS, 64, np.int32)),
        "original_height": pa.array(np.full(ROWS, 48, np.int32)),
        "payload": pa.array([f"work/parts/{i // 30}.tar" for i in n.tolist()], pa.large_string()),
        "payload_offset": pa.array(n * 512, pa.int64()),
        "payload_size": pa.array(n, pa.int64()),
        "fetched_with": pa.array([int((i % 30) // 2) if i % 2 else None for i in n.tolist()], pa.int64()),
    }
    columns |= {c: hashed[c] for c in hashed.column_names}
    columns |= {c: pa.array([None] * ROWS, t) for c, t in SharedFetch("fetch").adds().items()}
    columns["fetch"] = pa.array(["ok" if i % 5 else "timeout" for i in n.tolist()], pa.large_string())
    columns["sha256"] = pa.array([f"{i % 30:064x}" for i in n.tolist()], pa.large_string())
    return pa.table(columns)


def of(selector, table, unique=True):
    """The columns that a selector reads; uids that come once, for all but those that look for others."""
    rows = table.select(list(dict.fromkeys(["id", "uid", *selector.reads])))
    if isinstance(selector, DuplicateUid):
        return rows
    return rows.set_column(1, "uid", pa.array([uid(int(i)) for i in table["id"].to_pylist()], pa.string()))


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("chunk", [30, 7])
def test_chunks_decide_nothing(name, chunk, files, table, tmp_path):
    selector = SELECTORS[name](files)
    rows = of(selector, table)
    whole = shown(selector.select(frame_of(rows)))
    cut = shown(pickle.loads(pickle.dumps(selector)).select(frame_of(rows, str(tmp_path), backwards, chunk)))
    assert cut == whole
    again = frame_of(rows, str(tmp_path), lambda f, items: [pytest.fail("made again") for _ in items], chunk)
    assert shown(selector.select(again)) == whole, "a killed run goes on from the files of the tasks that have ended"


@pytest.mark.parametrize("name", SELECTORS)
def test_the_order_of_the_rows_decides_nothing(name, files, table):
    selector = SELECTORS[name](files)
    rows = of(selector, table)
    mixed = rows.take(np.random.default_rng(3).permutation(len(rows)))
    assert shown(selector.select(frame_of(mixed))) == shown(selector.select(frame_of(rows)))


@pytest.mark.parametrize("name", SELECTORS)
def test_something_is_decided(name, files, table):
    made = shown(SELECTORS[name](files).select(frame_of(of(SELECTORS[name](files), table))))
    assert (made["drop"] and 0 < len(made["drop"]["id"]) < ROWS) or (made["columns"] and made["columns"]["id"])


@pytest.mark.parametrize("name", SELECTORS)
def test_a_pool_of_no_rows_is_a_pool(name, files, table, tmp_path):
    selector = SELECTORS[name](files)
    empty = of(selector, table).slice(0, 0)
    assert not len(selector.select(frame_of(empty)).dropped())
    assert not len(selector.select(frame_of(empty, str(tmp_path))).dropped())


@pytest.mark.parametrize("name", SELECTORS)
def test_its_decision_is_kept_with_its_columns(name, files, table, tmp_path, monkeypatch):
    """Through the store, in one chunk and in three: the same rows in the files, of the types that the selector declares."""
    selector, kept = SELECTORS[name](files), []
    rows = of(selector, table)
    for most in (1 << 20, 30):
        monkeypatch.setattr(pool, "ROWS", most)
        store, gathered = Store(tmp_path / str(most)), []
        for part in range(3):
            found = rows.filter(pa.compute.equal(pa.compute.shift_right(rows["id"], 32), part))
            gathered.append(pool.publish_gathered(store, None, f"images-{part}", part, found))
        wanted = pool.decision(selector, gathered, [], "print")
        record = pool.decide(store, selector, gathered, [], wanted)
        tables = [store.table(wanted.file(start)) for start in wanted.starts]
        assert len(tables) == (1 if most > 30 else 3)
        whole = pa.concat_tables(tables)
        assert all(whole.schema.field(n).type == t for n, t in selector.adds().items() if n in whole.column_names)
        assert sum(record["dropped"]) == len(whole) - whole["reason"].null_count == sum(record["reasons"].values())
        kept.append((whole.to_pydict(), record["reasons"], record["notes"]))
    assert kept[0] == kept[1]


def test_every_selector_has_an_example(files):
    for module in pkgutil.walk_packages(curate.__path__, "curate."):
        if not module.name.startswith(("curate.extras", "curate.cli")):
            importlib.import_module(module.name)
    known = {type(make(files)) for make in SELECTORS.values()}
    missing = {c for c in _below(Selector) if c.__module__.startswith("curate.")} - known
    assert not missing


def _below(cls):
    return {c for s in cls.__subclasses__() for c in {s, *_below(s)}}
