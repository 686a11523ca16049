"""Formats of `curate export`: each is opened by the reading code of its trainer where a package brings it, else by a reader written
from the format."""

import csv
import io
import json
import tarfile
from ast import literal_eval
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curate.errors import PoolError, RecipeError
from curate.models import ensure_torchvision
from curate.selector import coin
from curate.shard.export import FORMATS, export
from curate.shard.formats import science_qa, streams
from curate.shard.formats.base import Options
from curate.shard.formats.conversations import check
from curate.shard.formats.streams import TokenSpan, packed
from curate.shard.write import Shards
from curate.store.atomic import Store
from tests.shard.packages import module
from tests.small_run import payload_rows, planned, write_shards

N = 20
BOXES = [
    {"phrase": "caption", "start": 0, "end": 7, "box": [0.1, 0.2, 0.5, 1.0], "sure": 0.9},
    {"phrase": "caption", "start": 0, "end": 7, "box": [0.6, 0.0, 0.9, 0.25], "sure": 0.8},
    {"phrase": "ünï", "start": -3, "end": 0, "box": [0.25, 0.25, 1.0, 1.0], "sure": 0.7},
]
TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A square."}]


def columns(row):
    """What recipes add, of one row."""
    n, size = row["source_row"], len(row["text"])
    boxes = [{**b, "start": size + b["start"], "end": size} if b["start"] < 0 else b for b in BOXES]
    return {
        "caption_plain": f"plain {n}",
        "talk_turns": TURNS if n % 3 else None,
        "text_negatives": [f"wrong {n}", f"it's not {n}"] if n % 4 else [],
        "matching_negative_images": None,
        "grounding_boxes": boxes if n % 2 else [],
        "grounding_chunks": boxes[:1] if n % 2 else [],
        "preference_pair": {"question": "What?", "first": f"one {n}", "second": f"two {n}", "preferred": (None, 1, 2)[n % 3]},
        "source_question": f"Which is {n}?",
        "source_choices": '["a", "b"]',
        "source_answer": n % 2,
        "source_split": ("train", "val", "test")[n % 3],
        "chosen_probability": {"raw": 0.5 * (n % 2), "plain": 1 - 0.5 * (n % 2)},
        "width": 16 + n % 7,
        "height": 16,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("run") / "odd [1] *")
    rows = [{**r, **columns(r)} for r in payload_rows(store, N).drop_columns(["vector", "copies"]).to_pylist()]
    uids = [r["uid"] for r in rows if r["kept"]]
    for row in rows:
        row["matching_negative_images"] = [u for u in uids if u != row["uid"]][:3]
    return store, write_shards(store, planned(pa.Table.from_pylist(rows), Shards(size=6))), {r["uid"]: r for r in rows}


def exported(run, form, folder, **options):
    """The path of an export, and how many rows it has."""
    out = folder / form
    return out, export(run[0], run[1], form, str(out), options=Options(**options))


def pixels(data) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data) if isinstance(data, bytes) else data).convert("RGB"))


def same_picture(run, key, image, tolerance=0) -> bool:
    row = run[2][key]
    data = run[0].read(row["payload"])[row["payload_offset"] :][: row["payload_size"]]
    return bool(np.abs(pixels(data).astype(int) - np.asarray(image.convert("RGB"))).max() <= tolerance)


def kept(run):
    return [r for r in run[2].values() if r["kept"]]


# ---- captions


def test_lavis_reads_the_annotations_of_blip(run, tmp_path, monkeypatch):
    caption = module(monkeypatch, "lavis.datasets.datasets.caption_datasets").CaptionDataset
    out, count = exported(run, "blip", tmp_path, text="caption_plain")
    data = caption(lambda image: image, str, str(out), [str(out / "annotations.json")])
    assert count == len(data) == len(kept(run)) == 18
    for n in range(len(data)):
        row = run[2][data.annotation[n]["image_id"]]
        assert data[n]["text_input"] == row["caption_plain"] and same_picture(run, row["uid"], data[n]["image"])
        assert data.annotation[n]["image"].endswith({"jpeg": "jpg"}.get(row["mime"][6:], row["mime"][6:]))


def test_every_text_that_passed_is_a_caption_of_its_own(run, tmp_path):
    out, count = exported(run, "blip", tmp_path, text="every")
    rows = json.loads((out / "annotations.json").read_text())
    texts = [(r["uid"], t) for r in kept(run) for t in ([r["text"]] if r["source_row"] % 2 else []) + [r["caption_plain"]]]
    assert count == len(rows) and sorted((r["image_id"], r["caption"]) for r in rows) == sorted(texts)


def test_lavis_and_minigpt4_read_the_tars(run, tmp_path, monkeypatch):
    """Both take `jpg` and `json`; pictures that were PNG or WebP are JPEG there."""
    laion = module(monkeypatch, "lavis.datasets.datasets.laion_dataset").LaionDataset
    out, _ = exported(run, "lavis", tmp_path)
    assert {p.suffix for p in out.iterdir()} == {".tar"} and len(list(out.iterdir())) == 3
    data = laion(lambda image: image, str, [str(p) for p in sorted(out.iterdir())]).inner_dataset
    texts = {r["text"]: r["uid"] for r in kept(run)}
    seen = {}
    for sample in data:  # shards come again and again
        seen[texts[sample["text_input"]]] = sample["image"]
        if len(seen) == len(texts):
            break
    assert all(same_picture(run, uid, image, 6) for uid, image in seen.items())


def test_minigpt4_s_second_stage(run, tmp_path):
    """Its CCSBUAlignDataset: `annotations` of the file, and `image/<image_id>.jpg`."""
    out, _ = exported(run, "minigpt4", tmp_path)
    annotations = json.loads((out / "filter_cap.json").read_text())["annotations"]
    assert len(annotations) == len(kept(run))
    for ann in annotations:
        with Image.open(out / "image" / f"{ann['image_id']}.jpg") as image:
            assert image.format == "JPEG" and same_picture(run, ann["image_id"], image, 6)
        assert ann["caption"] == run[2][ann["image_id"]]["text"]


def test_cc3m_is_caption_and_url(run, tmp_path):
    out, count = exported(run, "cc3m", tmp_path)
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert count == 18 and sorted(map(tuple, lines)) == sorted((r["text"], r["url"]) for r in kept(run))


def test_grit_s_places_are_those_of_the_caption(run, tmp_path):
    """As unilm's visualize_grit.py reads it: a JSON object a line, `ref_exps` of seven numbers."""
    out, count = exported(run, "grit", tmp_path)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert count == len(rows) == sum(r["source_row"] % 2 for r in kept(run))
    for row in rows:
        found = [row["caption"][start:end] for start, end, *_ in row["ref_exps"]]
        assert found == ["caption", "caption", "ünï"] and [len(e) for e in row["noun_chunks"]] == [7]
        assert row["ref_exps"][0][2:] == pytest.approx([0.1, 0.2, 0.5, 1.0, 0.9]) and row["width"] >= 16


def test_negclip_reads_its_table(run, tmp_path):
    """Its CsvDataset: columns by name, the last two read as Python lists, of which it draws one each."""
    out, count = exported(run, "negclip", tmp_path)
    with open(out / "train_neg_clip.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert count == len(rows) == sum(r["source_row"] % 4 > 0 for r in kept(run))
    by_text = {r["text"]: r for r in kept(run)}
    for row in rows:
        own, like = by_text[row["title"]], literal_eval(row["neg_image"])
        assert literal_eval(row["neg_caption"]) == own["text_negatives"]
        assert like and all(by_text[rows[i]["title"]]["uid"] != own["uid"] for i in like)
        with Image.open(out / row["filepath"]) as image:
            assert same_picture(run, own["uid"], image)


# ---- conversations


def test_llava_s_trainer_reads_what_it_is_given(run, tmp_path, monkeypatch):
    """Its LazySupervisedDataset, with a tokenizer of single characters: a picture of the same sample for each placeholder."""
    ensure_torchvision()
    without = {"llava__train__llava_trainer": {"LLaVATrainer": None}, "llava__model": {}}
    train = module(monkeypatch, "llava.train.train", **without)
    monkeypatch.setattr(train, "local_rank", 1, raising=False)
    out, count = exported(run, "llava", tmp_path)

    class Letters:
        pad_token_id, bos_token_id, model_max_length = 0, 1, 10_000

        def __call__(self, text):
            return SimpleNamespace(input_ids=[self.bos_token_id, *(ord(c) for c in text)])

    class Pixels:
        def preprocess(self, image, return_tensors):
            return {"pixel_values": [torch.tensor(np.asarray(image))]}

    how = SimpleNamespace(
        image_folder=str(out),
        image_processor=Pixels(),
        image_aspect_ratio="square",
        is_multimodal=True,
        mm_use_im_start_end=False,
    )
    data = train.LazySupervisedDataset(str(out / "llava.json"), Letters(), how)
    assert count == len(data) == sum(r["source_row"] % 3 > 0 for r in kept(run))
    for n in range(len(data)):
        image = Image.fromarray(data[n]["image"].numpy())
        assert same_picture(run, data.list_data_dict[n]["id"], image)
        assert data[n]["input_ids"].tolist().count(-200) == 1


@pytest.mark.parametrize(
    "image, turns",
    [
        ("a.jpg", [("human", "what?"), ("gpt", "a dog")]),
        ("a.jpg", [("human", "<image> <image>"), ("gpt", "a dog")]),
        ("a.jpg", [("human", "what?"), ("gpt", "<image>")]),
        (["a.jpg", "b.jpg"], [("human", "<image>"), ("gpt", "a dog")]),
        ("a.jpg", [("gpt", "x"), ("human", "<image>")]),
        ("a.jpg", [("human", "<image>")]),
    ],
)
def test_a_conversation_that_is_wrong_is_an_error(image, turns):
    with pytest.raises(PoolError, match="sample 1"):
        check({"id": "1", "image": image, "conversations": [{"from": f, "value": v} for f, v in turns]})


def test_trl_takes_the_preferences(run, tmp_path):
    """`datasets` decodes the pictures, and TRL finds conversations into which it puts them."""
    ensure_torchvision()
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl.data_utils")
    out, count = exported(run, "trl", tmp_path)
    data = datasets.Dataset.from_parquet(str(out), cache_dir=str(tmp_path / "cache"))
    assert count == len(data) == sum(r["source_row"] % 3 > 0 for r in kept(run))
    for row in data:
        n, first = run[2][row["id"]]["source_row"], run[2][row["id"]]["preference_pair"]["preferred"] == 1
        assert trl.is_conversational(row) and same_picture(run, row["id"], row["images"][0])
        assert [row[k][0]["content"] for k in ("chosen", "rejected")] == [f"one {n}", f"two {n}"][:: 1 if first else -1]
    messages = trl.prepare_multimodal_messages(row["prompt"] + row["chosen"], images=row["images"])
    assert [part["type"] for part in messages[0]["content"]] == ["image", "text"]


def test_llava_rlhf_s_comparisons(run, tmp_path):
    """Its BinaryRewardModelingDataset: `output_1` and `output_2` take the place of the last turn, which is the model's; a choice is 1
    or 2."""
    out, count = exported(run, "llava-rlhf", tmp_path)
    rows = json.loads((out / "preferences.json").read_text())
    assert count == len(rows) == sum(r["source_row"] % 3 > 0 for r in kept(run))
    for row in rows:
        pair = run[2][row["id"]]["preference_pair"]
        assert row["conversations"][-1]["from"] == "gpt" and row["conversations"][0]["value"].startswith("<image>\n")
        assert [row[k]["value"] for k in ("output_1", "output_2")] == [pair["first"], pair["second"]]
        assert {1: 0, 2: 1}[row["preference"]] == pair["preferred"] - 1 and (out / row["image"]).is_file()


def test_what_people_prefer_counts_before_the_judge(run, tmp_path):
    """Of each person the last word, of all the majority; where they disagree the judge's word stands."""
    store, _, rows = run
    keys = sorted(u for u, r in rows.items() if r["kept"] and r["source_row"] % 3 == 1)  # the judge prefers the first
    said = [(keys[0], "ann", "first"), (keys[0], "ann", "second"), (keys[1], "ann", "second"), (keys[1], "bob", "first")]
    said += [(keys[2], "ann", "second"), (keys[2], "bob", "second"), (keys[2], "cy", "first"), (keys[3], "ann", "unsure")]
    store.publish_table("verdicts/000001-0.parquet", pa.table(dict(zip(("uid", "annotator", "verdict"), zip(*said)))))
    out, _ = exported(run, "llava-rlhf", tmp_path)
    store.remove("verdicts/000001-0.parquet")
    found = {r["id"]: r["preference"] for r in json.loads((out / "preferences.json").read_text())}
    assert [found[k] for k in keys[:4]] == [2, 1, 2, 1]


def test_which_column_is_said_where_there_are_two(run, tmp_path):
    with pytest.raises(RecipeError, match="no column caption_no; there are: caption_plain"):
        exported(run, "blip", tmp_path, text="caption_no")
    with pytest.raises(RecipeError, match=r"llava does not take --text; it takes --turns"):
        exported(run, "llava", tmp_path, text="text")
    assert list(tmp_path.iterdir()) == []


# ---- ScienceQA

PROBLEM = {"id": 7, "question": "Which?", "choices": ["a", "b"], "answer": 1, "split": "val", "image": "image.png"}


def test_scienceqa_s_folder(run, tmp_path):
    out, count = exported(run, "scienceqa", tmp_path)
    problems, splits = (json.loads((out / f"{n}.json").read_text()) for n in ("problems", "pid_splits"))
    assert count == len(problems) == 18
    assert set(splits) == {"train", "val", "test", "trainval", "minitrain", "minival", "minitest"}
    assert all(set(splits[f"mini{s}"]) <= set(splits[s]) for s in science_qa.SPLITS)
    assert splits["trainval"] == splits["train"] + splits["val"]
    for pid, found in problems.items():
        assert list(found) == list(science_qa.FIELDS) and found["choices"] == ["a", "b"] and pid in splits[found["split"]]
        with Image.open(out / "images" / found["split"] / pid / found["image"]) as image:
            assert same_picture(run, pid, image)


def test_scienceqa_s_questions_without_pictures(run, tmp_path):
    """They have no URL, and are in the ledger alone; a row that fell for another reason is none of them."""
    rows = [(1, "Why?", None, "fetch:bad_url"), (2, "How?", "ftp://a.example", "fetch:bad_url"), (3, None, "", "fetch:bad_url")]
    names, kinds = ("source_id", "source_question", "url", "drop_reason"), (pa.int64(), pa.string(), pa.string(), pa.string())
    table = pa.table([pa.array(values, kind) for values, kind in zip(zip(*rows), kinds)], names)
    for name, value in {
        "uid": "u",
        "source_file": "a",
        "source_row": 0,
        "source_answer": 1,
        "source_choices": '["x", "y"]',
    }.items():
        table = table.append_column(name, pa.array([value] * len(rows)))
    run[0].publish_table("ledger/images/000000.parquet", table)
    try:
        out, count = exported(run, "scienceqa", tmp_path)
    finally:
        run[0].remove("ledger/images/000000.parquet")
    problems = json.loads((out / "problems.json").read_text())
    assert count == len(problems) == 19 and "1" in json.loads((out / "pid_splits.json").read_text())["train"]
    assert (problems["1"]["question"], problems["1"]["image"], problems["1"]["choices"]) == ("Why?", None, ["x", "y"])


@pytest.mark.parametrize(
    "fault", [{"answer": 2}, {"answer": True}, {"choices": ["a"]}, {"choices": ["a", "a"]}, {"question": ""}, {"split": "dev"}]
)
def test_a_problem_that_cannot_be_answered_is_refused(fault):
    with pytest.raises(PoolError, match="problem 7"):
        science_qa.problem({**PROBLEM, **fault})


def test_an_id_is_used_once(tmp_path):
    with pytest.raises(PoolError, match="twice"):
        science_qa.write_problems([PROBLEM, PROBLEM], tmp_path)


# ---- sequences


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A tokenizer of single bytes."""
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(sorted(alphabet))}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return str(path)


def test_kosmos2_s_processor_writes_and_reads_the_same_sequences(run, tmp_path):
    ensure_torchvision()
    kosmos2 = pytest.importorskip("transformers.models.kosmos2.processing_kosmos2")
    out, _ = exported(run, "kosmos2", tmp_path)
    rows = [json.loads(line) for line in (out / "sequences.jsonl").read_text().splitlines()]
    assert len(rows) == 18
    for row in rows:
        caption, boxes = run[2][row["id"]]["text"], run[2][row["id"]]["grounding_boxes"]
        text, entities = kosmos2.clean_text_and_extract_entities_with_bboxes(
            row["text"].removeprefix("<s><image></image>").removesuffix("</s>")
        )
        assert text == caption and len(entities) == (2 if boxes else 0)
        for name, (start, end), found in entities:
            own = [b["box"] for b in boxes if (b["start"], b["end"]) == (start, end)]
            assert caption[start:end] == name and np.abs(np.array(found) - own).max() <= 1 / 32
    corners = [kosmos2.coordinate_to_patch_index(b["box"], 32) for b in BOXES]
    assert [streams.corner_cells(b["box"]) for b in BOXES] == corners


def test_chameleon_s_pictures_come_first_by_a_coin(run, tmp_path):
    ensure_torchvision()
    processor = pytest.importorskip("transformers.models.chameleon.processing_chameleon").ChameleonProcessor
    out, _ = exported(run, "chameleon", tmp_path, seed=3)
    rows = {r["id"]: r["text"] for r in map(json.loads, (out / "sequences.jsonl").read_text().splitlines())}
    first = {key: text.startswith("<s><image>") for key, text in rows.items()}
    assert first == {key: coin([key], 3, "first")[0] < 0.5 for key in rows} and len(set(first.values())) == 2
    last, _ = exported(run, "kosmos", tmp_path, first=0.0)
    assert all(json.loads(line)["text"].endswith("<image></image></s>") for line in (last / "sequences.jsonl").open())
    how, own = streams.STYLES["chameleon"], SimpleNamespace(image_seq_length=1024, image_token="<image>")
    own.image_start_token, own.image_end_token = how.before, how.after
    assert processor.replace_image_token(own, {}, 0) == how.before + how.mark * how.count + how.after


def test_packed_ids_say_the_texts_and_where_pictures_are(run, letters, tmp_path):
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer

    out, count = exported(run, "kosmos", tmp_path, tokenizer=letters, tokens=150)
    rows, made = pq.read_table(out / "sequences.parquet").to_pylist(), Tokenizer.from_file(str(out / "tokenizer.json"))
    assert count == len(rows) and all(len(r["input_ids"]) <= 150 for r in rows)
    marks = {t: made.token_to_id(t) for t in ("<s>", "</s>", "<image>", "</image>")}
    for row in rows:
        assert [row["input_ids"][s] for s in row["starts"]] == [marks["<s>"]] * len(row["starts"])
        for path, at in zip(row["images"], row["image_at"]):
            assert row["input_ids"][at - 1 : at + 65] == [marks["<image>"]] * 65 + [marks["</image>"]]
            assert (out / path).is_file()
    text = made.decode([i for r in rows for i in r["input_ids"] if i != marks["<image>"]], skip_special_tokens=False)
    assert sorted(text.split("</s>")[:-1]) == sorted(f"<s></image>{r['text']}" for r in kept(run))
    assert sum(len(r["images"]) for r in rows) == 18


def test_a_picture_is_in_one_row_and_texts_go_on():
    text, picture = TokenSpan([1] * 7), TokenSpan([2] * 4, "a.jpg", 1)
    rows = list(packed([[text, picture], [picture, text]], 10))
    assert [r.ids for r in rows] == [[1] * 7, [2] * 8 + [1] * 2, [1] * 5]
    assert [r.image_at for r in rows] == [[], [1, 5], []] and [r.starts for r in rows] == [[0], [4], []]
    with pytest.raises(RecipeError, match="a picture has 4 tokens, and a row 3"):
        list(packed([[picture]], 3))


def document(n: int) -> dict:
    texts = [f"<image> Paragraph {n} {k}. " + "word " * 12 for k in range(4)]
    places = [(t, None) if t else (None, f"{k}.png") for pair in zip(texts, [None] * 4) for k, t in enumerate(pair) if t or k]
    names = iter(f"{k}.png" for k in range(4))
    images = [None if text else next(names) for text, _ in places]
    return {
        "uid": f"{n:032x}",
        "url": "http://a",
        "texts": [t for t, _ in places],
        "images": images,
        "positions": list(range(8)),
        "image_info": [
            {"image_name": f"{k}.png", "raw_url": "u", "matched_text_index": k, "matched_sim": None} for k in range(4)
        ],
    }


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A run of documents, whose samples are made here."""
    from curate.shard.samples import Samples, ShardSample

    made = [ShardSample(f"{n:032x}", "00000", document(n), ("json",), lambda name: name.encode()) for n in range(12)]
    monkeypatch.setattr(Samples, "__iter__", lambda self: iter(made))
    return Store(tmp_path / "run"), {"shards": [{"name": "00000"}], "samples": 12, "table": "documents"}


def test_a_window_of_m3w_has_256_tokens_of_a_tokenizer(pages, letters, tmp_path):
    import pyarrow.parquet as pq

    out, _ = exported(pages, "m3w", tmp_path, tokenizer=letters, tokens=100, images=2)
    rows = pq.read_table(out / "sequences.parquet").to_pylist()
    special = len({"<image>", "<|endofchunk|>"})
    for row in rows:
        plain = [i for i in row["input_ids"] if i < 256]
        assert 96 <= len(plain) <= 101 and 1 <= len(row["images"]) <= 2 and row["starts"] == [0]
        assert max(row["input_ids"]) < 256 + special and (out / row["images"][0]).read_bytes()
    assert len(rows) == 12


def test_kosmos_has_the_first_pictures_of_pages_and_a_share_of_those_with_one(pages, tmp_path):
    out, count = exported(pages, "kosmos", tmp_path, images=3)
    row = json.loads((out / "sequences.jsonl").read_text().splitlines()[0])
    assert count == 12 and [p.rsplit("/", 1)[1].split(".", 1)[1] for p in row["images"]] == ["0.png", "1.png", "2.png"]
    assert row["text"].startswith("<s><image> Paragraph 0 0.") and row["text"].count("<image></image>") == 3
    half, count = exported(pages, "kosmos", tmp_path / "..", images=1, single=0.0)
    assert count == 12 and half.is_dir()


def test_each_format_says_what_it_is_of(pages, tmp_path):
    for name, how in FORMATS.items():
        assert how.about and set(how.takes) <= set(vars(Options()))
        if how.samples == "images":
            with pytest.raises(RecipeError, match=f"{name} is a form of images; the samples of this run are documents"):
                exported(pages, name, tmp_path)


def test_a_sample_without_a_picture_is_named(run, tmp_path):
    from curate.shard.samples import Samples

    for sample in Samples(run[0], [run[1]["shards"][0]["name"]]):
        assert sample.caption() == run[2][sample.key]["text"]
        with pytest.raises(PoolError, match=f"sample {sample.key} has no picture"):
            _ = replace(sample, members=("json", "txt")).picture


@pytest.mark.parametrize("key, uid", [("../../out", "a"), ("good", "../x"), ("good", "a/b")])
def test_no_file_is_written_where_a_tar_wants_it(key, uid, tmp_path):
    """A folder that a stranger made may have samples of any name."""
    from curate.store.payload import tar_header

    store, data = Store(tmp_path / "run"), json.dumps({"uid": uid, "texts": ["a"], "images": [None], "image_info": []}).encode()
    member = tar_header(f"{key}.json", len(data)) + data + b"\0" * (-len(data) % 512) + b"\0" * 1024
    store.publish_bytes("shards/00000.tar", member)
    with pytest.raises(PoolError, match="cannot be the name of a file"):
        export(store, {"shards": [{"name": "00000"}], "samples": 1, "table": "documents"}, "markdown", str(tmp_path / "md"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_samples_have_the_rows_of_the_ledger_that_are_asked_for(run):
    """In whatever order the ledger has them; a sample that is there twice has them twice."""
    from curate.shard.samples import Samples

    store, dataset, rows = run
    ledger = [{"uid": u, "kept": r["kept"], "score": r["score"]} for u, r in sorted(rows.items())]
    store.publish_table("ledger/images/000000.parquet", pa.Table.from_pylist(ledger[:9]))
    store.publish_table("ledger/images/000001.parquet", pa.Table.from_pylist(ledger[9:]))
    shards = [s["name"] for s in dataset["shards"]]
    found = list(Samples(store, shards, "images", {"images": ("score", "nothing")}))
    assert len(found) == 18 and all(s.ledger["images"] == [{"score": rows[s.key]["score"]}] for s in found)
    again = Samples(store, [shards[1], shards[0]], "images", {"images": ("nothing",)})
    assert [s.ledger["images"] for s in again] == [[]] * 12


def test_tars_are_tars(run, tmp_path):
    out, _ = exported(run, "lavis", tmp_path)
    with tarfile.open(next(out.iterdir())) as tar:
        names = tar.getnames()
    assert {n.split(".", 1)[1] for n in names} == {"jpg", "json"}
