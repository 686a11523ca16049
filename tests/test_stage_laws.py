"""What holds for every stage that is no filter: a row's values depend on the row, not on its neighbours, their order or their number; the
columns are the declared ones; a copy that was pickled does the same; missing values are no failure."""

import importlib
import io
import json
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import laws
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from documents.page_web import picture, serving
from synth.writers import Parrot
from tiny import tiny_clip
from videos.clips_made import film

import curate
from curate import schema
from curate.dedup.phash import PerceptualHash
from curate.documents.align import Align
from curate.fetch.blur_faces import BlurFaces
from curate.fetch.decode import Decode
from curate.fetch.stage import Fetch
from curate.fetch.unpack import Unpack
from curate.sources.stored_embedding import StoredEmbedding
from curate.stage import Stage, reasons
from curate.store.atomic import Store
from curate.store.payload import Parcel
from curate.synth.augment import AugmentImage, AugmentText
from curate.synth.caption import Caption, Rewrite, Translate
from curate.synth.choose import CapFilt, Mix
from curate.synth.documents import CaptionDocument
from curate.synth.faults import CaptionFaults, CaptionStrip
from curate.synth.instruct import Instruct, Transcribe
from curate.synth.negatives import HardNegatives
from curate.synth.pairs import CaptionPair
from curate.synth.preference import Prefer, Preference
from curate.synth.scene_graph import SceneGraph
from curate.synth.score import BestOf, CaptionScore
from curate.synth.slices import Slices
from curate.synth.vlm_score import VlmScore
from curate.synth.wordnet_links import WordnetLinks
from curate.videos.fetch_sound import FetchSound
from curate.videos.frames import Frames, Sound
from curate.videos.sound_file import SoundFile

#: Classes that others are made of, and the one whose package is not installed with the tests.
BASES = {"Stage", "Filter", "ModelStage", "TextStage", "Scored", "DocumentFilter", "Img2Dataset"}
#: Columns that every row has: a source brings them.
ALWAYS = {"uid", "source_file", "source_row", "doc_uid", "position", "video", "at", "start", "end", *schema.PAYLOAD}
#: Columns that differ between two runs: the time.
TIMES = {"fetched_at"}

TEXTS = [
    "A dog and two cats sit on the red table. It is late.",
    "",
    "  ",
    "the the the the the the the the",
    "Ein Hund im Gras",
    "一只橙色的猫",
    "x" * 300,
    None,
    "A man in a blue coat holds 3 umbrellas beside a car",
    "{braces} & <b>tags</b> \u202e",
]


@dataclass
class Example:
    """A stage with rows. inputs: further positional arguments, a value a row; looks: a function after them; units: rows that are
    given to the stage together, where these are not single ones."""

    stage: Stage
    live: pa.Table
    inputs: tuple[list, ...] = ()
    context: dict[str, pa.Table] = field(default_factory=dict)
    looks: Callable[..., list] | None = None
    units: list[list[int]] | None = None
    store: Store | None = None
    pickled: bytes = b""  # the stage as a worker gets it: before it was loaded

    def run(self, rows: list[int], stage: Stage | None = None) -> pa.Table:
        """The columns for some of the rows, in this order; in the place of an offset in the payload the bytes there."""
        stage, file = stage or self.stage, io.BytesIO()
        live = self.live.take(pa.array(rows, pa.int64()))
        inputs = [*([values[i] for i in rows] for values in self.inputs), *([self.looks] if self.looks else [])]
        parcel = [Parcel(self.store, file)] if stage.writes_payload else []
        return with_bytes(stage.run(live, *parcel, *inputs, **self.context), file.getvalue())


def with_bytes(made: pa.Table, tar: bytes) -> pa.Table:
    if "payload_offset" not in made.column_names:
        return made
    places = zip(*(made[c].to_pylist() for c in schema.PAYLOAD))
    data = [str(at) if parked or at is None else tar[at : at + size].hex() for parked, at, size in places]
    return made.append_column("bytes_", pa.array(data, pa.large_string()))


def texts(**columns: Any) -> pa.Table:
    """Rows with the texts in `text`, and columns of as many values."""
    return pa.table({"uid": uids(len(TEXTS)), "text": pa.array(TEXTS, pa.large_string()), **columns})


def uids(count: int) -> pa.Array:
    return pa.array([schema.uid("laws", str(i)) for i in range(count)], pa.large_string())


def strings(shift: int) -> pa.Array:
    return pa.array(TEXTS[shift:] + TEXTS[:shift], pa.large_string())


def embeddings(count: int, width: int = 32) -> pa.Array:
    vectors = np.random.default_rng(2).standard_normal((count, width))
    rows = list((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
    return pa.array([*rows[:-1], None], pa.list_(pa.float16()))


def pictures(stage: Stage, **columns: Any) -> Example:
    images = [*laws.pixels(len(TEXTS) - 1, 5), "broken"] if not isinstance(stage, PerceptualHash) else laws.pixels(10, 5)
    return Example(stage, texts(**columns), (images,))


def sized(stage: Stage) -> Example:
    sides = [1, 30, 336, 337, 640, 1000, 1344, 2000, 5000, 333]
    return Example(stage, texts(width=pa.array(sides, pa.int32()), height=pa.array(sides[::-1], pa.int32())))


def aligned(folder: Path) -> Example:
    pages = ["a", "b", "a", "b", "a", "c", "a", "b", "b", "a"]
    rows = {"doc_uid": pa.array(pages, pa.large_string()), "position": pa.array(range(10), pa.int32())}
    paragraphs = pa.table({**rows, "clip_text": embeddings(10)[::-1], "live": [True] * 9 + [False]}).slice(1)
    units = [[i for i, page in enumerate(pages) if page == p] for p in "abc"]
    return Example(Align(min=0.1), texts(**rows, clip_image=embeddings(10)), context={"texts": paragraphs}, units=units)


def document(folder: Path) -> Example:
    """Documents of nothing, of texts, of pictures, of both."""
    count, parts = 6, [(d, p) for d in range(1, 6) for p in range(d)]
    owner = [uids(count)[d].as_py() for d, _ in parts]
    place, live = [p for _, p in parts], [True] * len(parts)
    paragraphs = {"doc_uid": owner, "position": place, "text": [TEXTS[p] for p in place], "live": live}
    images = {"doc_uid": owner, "position": place, "live": live, "payload": [None if p == 3 else str(p) for p in place]}
    context = {"texts": pa.table(paragraphs), "images": pa.table({**images, "payload_offset": place, "payload_size": place})}
    look = lambda rows: [np.full((4, 4, 3), 40 + r["position"], np.uint8) for r in rows]  # noqa: E731
    return Example(CaptionDocument(Parrot()), pa.table({"uid": uids(count)}), context=context, looks=look)


class Beside(Parrot):
    """Is shown two pictures."""

    most_pictures = 2


def paired(folder: Path) -> Example:
    places = [{"payload": "a.tar", "payload_offset": i, "payload_size": 1} if i % 3 else None for i in range(len(TEXTS))]
    look = lambda rows: [np.full((4, 4, 3), 40 + r["payload_offset"], np.uint8) for r in rows]  # noqa: E731
    stage = CaptionPair(Beside())
    live = texts(paired_row_picture=pa.array(places, pa.struct(list(schema.PAYLOAD.items()))))
    return Example(stage, live, ([*laws.pixels(len(TEXTS) - 1, 5), "broken"],), looks=look)


def fetched(folder: Path, address: str) -> Example:
    paths = ["0.jpg", "1.jpg", "gone.jpg", "1.jpg", "2.jpg", "page.html"]
    urls = [*(f"{address}/{p}" for p in paths), "ftp://x", "http://", None]
    live = {"uid": uids(len(urls)), "url": pa.array(urls, pa.large_string())}
    nothing = {c: pa.nulls(len(urls), k) for c, k in schema.PAYLOAD.items()}
    own = {"allow_private": ("127.0.0.0/8",), "robots": False, "timeout": 5, "retries": 0}
    return Example(Fetch(**own), pa.table({**live, **nothing}), store=Store(folder / "run"))


def blurred(folder: Path) -> Example:
    store, file = Store(folder / "run"), io.BytesIO()
    parcel = Parcel(store, file)
    files = [picture(i) for i in range(5)] + [b"no picture"]
    places = [parcel.add(f"{i}.jpg", data) for i, data in enumerate(files)]
    parcel.close()
    store.publish_bytes("work/parts/0/all.tar", file.getvalue())
    boxes = [[], [[0.1, 0.1, 0.5, 0.5]], None, [[0.0, 0.0, 1.0, 1.0], [0.2, 0.2, 0.3, 0.3]], [[5.0, 5.0, 9.0, 9.0]], []]
    return Example(
        BlurFaces(),
        pa.table(
            {
                "uid": uids(6),
                "faces_boxes": boxes,
                "mime": pa.array(["image/jpeg"] * 6, pa.large_string()),
                "width": pa.array([64] * 6, pa.int32()),
                "height": pa.array([64] * 6, pa.int32()),
                "payload": pa.array(["work/parts/0/all.tar"] * 6, pa.large_string()),
                "payload_offset": pa.array(places, pa.int64()),
                "payload_size": pa.array([len(f) for f in files], pa.int32()),
            }
        ),
        store=store,
    )


def unpacked(folder: Path) -> Example:
    data = [{"bytes": b"12345" * n or None, "path": None} for n in range(6)]
    pq.write_table(pa.table({"image": data}), folder / "a.parquet")
    file = pa.array([str(folder / "a.parquet")] * 6, pa.large_string())
    live = pa.table({"uid": uids(6), "source_file": file, "source_row": pa.array(range(6), pa.int64())})
    return Example(Unpack(max_bytes=20), live, store=Store(folder / "run"))


def stored(folder: Path) -> Example:
    vectors = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float16)
    np.savez(folder / "a.npz", l14_img=vectors)
    file = pa.array([str(folder / "a.parquet")] * 6, pa.large_string())
    return Example(StoredEmbedding(), pa.table({"uid": uids(6), "source_file": file, "source_row": range(6)}))


def clips(stage: Stage, folder: Path) -> Example:
    videos = [film(folder / "a.mp4", 2.0), film(folder / "b.mp4", 1.0, sound=False), str(folder / "none.mp4")]
    video = pa.array([videos[i % 3] for i in range(6)], pa.large_string())
    begin = pa.array([0.0, 0.2, 0.0, 0.5, 0.4, 1.0], pa.float64())
    rows = {
        "uid": uids(6),
        "video": video,
        "at": begin,
        "start": begin,
        "end": pa.array([0.4, 0.6, 1, 1.5, 0.8, 2], pa.float64()),
    }
    rows |= {"doc_uid": uids(6), "position": pa.array([0] * 6, pa.int32())}
    nothing = {c: pa.nulls(6, k) for c, k in schema.PAYLOAD.items()}
    return Example(stage, pa.table({**rows, **nothing}), store=Store(folder / "run"))


def tone() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.sin(np.arange(8000) / 9), 8000, format="FLAC")
    return out.getvalue()


def sounds(folder: Path) -> Example:
    (folder / "a.flac").write_bytes(tone())
    (folder / "b.mp3").write_bytes(b"no sound")
    files = [str(folder / name) for name in ("a.flac", "b.mp3", "none.wav")]
    nothing = {c: pa.nulls(6, k) for c, k in schema.PAYLOAD.items()}
    return Example(SoundFile(), pa.table({"uid": uids(6), "audio": files * 2, **nothing}), store=Store(folder / "run"))


def sounds_of_the_web(folder: Path, address: str) -> Example:
    found, own = sounds(folder), {"allow_private": ("127.0.0.0/8",), "robots": False, "timeout": 5, "retries": 0}
    files = [f"{address}/a.flac", f"{address}/gone.wav", "http://", *found.live["audio"].to_pylist()[:3]]
    live = found.live.set_column(1, "audio", pa.array(files, pa.large_string()))
    return Example(FetchSound(fetch=Fetch(**own)), live, store=found.store)


def scored(stage: Stage) -> Example:
    lists = pa.array([[t, "another"] for t in TEXTS], pa.list_(pa.large_string()))
    return Example(stage, texts(clip_image=embeddings(10), caption_a_candidates=lists))


def mixed(stage: Stage) -> Example:
    scores = pa.array([0.1 * i for i in range(9)] + [None], pa.float32())
    return Example(stage, texts(caption_a=strings(3), clip_score=scores, caption_a_score=scores[::-1]))


def wordnet(folder: Path) -> str:
    (folder / "index.noun").write_text("dog n 1 0 1 1 02084071\ntable n 2 0 2 1 04379243\ncat n 1 0 1 1 02121620\n")
    (folder / "noun.exc").write_text("men man\n")
    return str(folder)


#: By class: an example in a folder of its own. `address`: of a server on this machine.
EXAMPLES: dict[type[Stage], Callable[[Path, str], Example]] = {
    PerceptualHash: lambda folder, address: pictures(PerceptualHash()),
    Align: lambda folder, address: aligned(folder),
    BlurFaces: lambda folder, address: blurred(folder),
    Decode: lambda folder, address: pictures(Decode()),
    Fetch: fetched,
    Unpack: lambda folder, address: unpacked(folder),
    StoredEmbedding: lambda folder, address: stored(folder),
    AugmentImage: lambda folder, address: sized(AugmentImage()),
    AugmentText: lambda folder, address: Example(AugmentText(), texts()),
    Caption: lambda folder, address: pictures(Caption(Parrot())),
    Rewrite: lambda folder, address: Example(Rewrite(Parrot()), texts()),
    Translate: lambda folder, address: Example(Translate(Parrot()), texts(language=pa.array(["en", "de", None] * 3 + ["fr"]))),
    CaptionDocument: lambda folder, address: document(folder),
    CaptionPair: lambda folder, address: paired(folder),
    Instruct: lambda folder, address: Example(Instruct(Parrot()), texts()),
    Transcribe: lambda folder, address: Example(Transcribe(of="text"), texts()),
    Prefer: lambda folder, address: pictures(Prefer(Parrot(), of=("text", "other")), other=strings(2)),
    Preference: lambda folder, address: Example(
        Preference(of=("text", "other"), by=("judge",)),
        texts(other=strings(2), judge=pa.array([1, 2, None] * 3 + [1], pa.int8())),
    ),
    VlmScore: lambda folder, address: pictures(VlmScore(Parrot(), pictures=True)),
    Mix: lambda folder, address: mixed(Mix({"raw": 0.5, "a": 0.5}, no_worse=True)),
    CapFilt: lambda folder, address: mixed(CapFilt({"raw": 0.5, "a": 0.5}, min=0.3)),
    CaptionFaults: lambda folder, address: Example(CaptionFaults(of="text", made=False), texts()),
    CaptionStrip: lambda folder, address: Example(CaptionStrip(of="caption_a"), texts(caption_a=strings(1))),
    HardNegatives: lambda folder, address: Example(HardNegatives(), texts()),
    SceneGraph: lambda folder, address: Example(SceneGraph(), texts()),
    Slices: lambda folder, address: sized(Slices()),
    WordnetLinks: lambda folder, address: Example(WordnetLinks(folder=wordnet(folder)), texts()),
    CaptionScore: lambda folder, address: scored(CaptionScore(of="text", model=tiny_clip(folder / "clip"))),
    BestOf: lambda folder, address: scored(BestOf(of=("text", "caption_a_candidates"), model=tiny_clip(folder / "clip"))),
    Frames: lambda folder, address: clips(Frames(), folder),
    Sound: lambda folder, address: clips(Sound(), folder),
    SoundFile: lambda folder, address: sounds(folder),
    FetchSound: sounds_of_the_web,
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The example of a class, made and loaded once."""
    made: dict[type[Stage], Example] = {}
    files = {f"/{i}.jpg": picture(i) for i in range(3)} | {"/page.html": b"<p>no picture</p>", "/a.flac": tone()}
    with serving(files) as (address, _):

        def example(kind: type[Stage]) -> Example:
            if kind not in made:
                made[kind] = EXAMPLES[kind](tmp_path_factory.mktemp(kind.__name__), address)
                made[kind].pickled = pickle.dumps(made[kind].stage)
                made[kind].stage.load()
            return made[kind]

        yield example
        for each in made.values():
            each.stage.close()


def values(table: pa.Table) -> list[dict[str, Any]]:
    """The rows, numbers as precise as models are, without what is told by the clock."""
    hidden = TIMES | ({"payload_offset"} if "bytes_" in table.column_names else set())
    return json.loads(
        json.dumps(table.drop_columns([c for c in hidden if c in table.column_names]).to_pylist(), default=text_of)
    )


def text_of(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def alike(left: Any, right: Any) -> bool:
    """Equal; fractions in the last bit of float16."""
    if isinstance(left, float) and isinstance(right, float):
        return left == pytest.approx(right, rel=2e-3, abs=2e-3, nan_ok=True)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    return left == right


kinds = pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)


def concrete(base: type[Stage]) -> set[type[Stage]]:
    found = {base} if base.__module__.startswith("curate.") and not base.__module__.startswith("curate.filters.") else set()
    return found.union(*map(concrete, base.__subclasses__()))


def test_every_stage_that_is_no_filter_has_an_example():
    for module in pkgutil.walk_packages(curate.__path__, "curate."):
        if not module.name.startswith("curate.extras") and "__main__" not in module.name:
            importlib.import_module(module.name)
    assert {k.__name__ for k in concrete(Stage)} - BASES == {k.__name__ for k in EXAMPLES}


@kinds
def test_a_row_has_the_same_values_alone_and_together_and_in_any_order(examples, kind):
    example = examples(kind)
    units = example.units or [[i] for i in range(len(example.live))]
    order = [i for unit in units for i in unit]
    together = values(example.run(order))
    alone = [row for unit in units for row in values(example.run(unit))]
    mixed_up = [i for unit in np.random.default_rng(3).permutation(len(units)) for i in units[unit][::-1]]
    again = dict(zip(mixed_up, values(example.run(mixed_up))))
    for i, one, other in zip(order, together, alone):
        assert alike(one, other), f"row {i} alone"
        assert alike(one, again[i]), f"row {i} in another order"


@kinds
def test_the_columns_are_those_that_are_declared(examples, kind):
    example = examples(kind)
    for rows in ([], list(range(len(example.live)))):
        made = example.run(rows)
        made = made.drop_columns(["bytes_"]) if "bytes_" in made.column_names else made
        assert {n: made[n].type for n in made.column_names} == example.stage.adds() and len(made) == len(rows)
        found = example.stage.judge(made)
        assert len(found) == len(rows) and found.type == reasons(pa.array([True]), "x").type


@kinds
def test_a_copy_that_was_pickled_does_the_same(examples, kind):
    example = examples(kind)
    copy = pickle.loads(example.pickled)
    copy.load()
    assert copy.parameters() == example.stage.parameters() and copy.identity() == example.stage.identity()
    rows = list(range(len(example.live)))
    assert alike(values(example.run(rows, copy)), values(example.run(rows)))
    copy.close()


@kinds
def test_rows_without_values_fail_nothing(examples, kind):
    example = examples(kind)
    live = example.live
    for i, name in enumerate(live.column_names):
        if name not in ALWAYS:
            live = live.set_column(i, name, pa.nulls(len(live), live[name].type))
    bare = Example(example.stage, live, example.inputs, example.context, example.looks, example.units, example.store)
    assert len(bare.run(list(range(len(live))))) == len(live)


@kinds
def test_parameters_that_change_what_is_stored_are_in_the_identity(examples, kind):
    laws_of = {f.name for f in fields(kind) if f.init and f.name != "name"}
    stage = examples(kind).stage
    assert set(stage.untracked) <= laws_of and not set(stage.identity()) & set(stage.untracked)
    assert set(stage.identity()) >= (laws_of - set(stage.untracked)) | {"class", "version"}


@dataclass
class Neighbours(Stage):
    """Adds how many rows came together: what no stage may do."""

    reads = ("text",)

    def adds(self):
        return {self.name: pa.int64()}

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table({self.name: pa.array([len(live)] * len(live), pa.int64())})


def test_the_laws_notice_a_stage_that_looks_at_its_neighbours():
    with pytest.raises(AssertionError, match="alone"):
        test_a_row_has_the_same_values_alone_and_together_and_in_any_order(
            lambda kind: Example(Neighbours(), texts()), Neighbours
        )
