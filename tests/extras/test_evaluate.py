"""`curate evaluate`: sets are trained on by open_clip's own trainer, measured on held-out samples, and compared."""

import io
import json
import tarfile

import numpy as np
import pytest
from pictured import pictured
from PIL import Image

from curate.cli import main
from curate.errors import PoolError, RecipeError
from curate.extras.evaluate import evaluate
from curate.extras.evaluate.heldout import _best, classification, open_held_out, retrieval, samples_in
from curate.extras.evaluate.outcome import verdict
from curate.extras.evaluate.sets import named, open_draw, write_fetched
from curate.extras.evaluate.trainer import Training, configuration
from curate.models import clip

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 50, 220), "white": (240, 240, 240)}
#: A model of 20,000 parameters and 1.6 million in word vectors: a second or two for 24 batches.
MODEL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def tar(path, n, texts=lambda colour, i: f"a {colour} square", classes=False, seed=0):
    """A tar of n pictures of one colour each, and their captions."""
    chance = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as out:
        for i in range(n):
            label = i % len(COLOURS)
            colour = list(COLOURS)[label]
            noise = chance.integers(-20, 20, (24, 24, 3)) + np.array(COLOURS[colour])
            file = io.BytesIO()
            Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(file, "PNG")
            members = {"png": file.getvalue(), "txt": texts(colour, i).encode()} | (
                {"cls": str(9 if classes == 9 else label).encode()} if classes else {}
            )
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{i:05d}.{suffix}")
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate")
    tar(path / "true.tar", 128)
    tar(path / "shuffled.tar", 128, lambda colour, i: f"a {list(COLOURS)[i * 7 // 4 % 4]} square")
    tar(path / "test/0.tar", 40, lambda colour, i: f"{colour} thing", classes=True, seed=1)
    (path / "classnames.txt").write_text("\n".join(COLOURS) + "\n")
    (path / "zeroshot_classification_templates.txt").write_text("a {c} square\n")
    (path / "model.json").write_text(json.dumps(MODEL))
    return path


def run(desk, *words, seeds=2, held_out="colours={}/test", **more):
    options = {
        "model": f"{desk}/model.json",
        "batch-size": 32,
        "samples-seen": 768,
        "lr": 0.003,
        "workers": 1,
        "out": f"{desk}/out",
        **more,
    }
    return main(
        [
            "evaluate",
            *words,
            "--held-out",
            held_out.format(desk),
            "--seeds",
            str(seeds),
            *(w for k, v in options.items() for w in (f"--{k}", str(v))),
        ]
    )


def test_true_captions_teach_more_than_shuffled_ones(desk, capsys):
    assert run(desk, f"{desk}/true.tar", f"{desk}/shuffled.tar") == 0
    found = json.loads((desk / "out/evaluation.json").read_text())
    assert [(s["name"], s["samples"]) for s in found["sets"]] == [("true", 128), ("shuffled", 128)] and found["how"][
        "samples_seen"
    ] == 768
    top = {(m["set"], m["seed"]): m["metrics"]["top-1"] for m in found["measured"]}
    assert min(top["true", 0], top["true", 1]) > max(top["shuffled", 0], top["shuffled", 1])
    assert set(found["measured"][0]["metrics"]) == {
        "top-1",
        "top-5",
        *(f"{way} R@{k}" for way in ("image→text", "text→image") for k in (1, 5)),
    }
    said = capsys.readouterr().out
    assert "above shuffled" in said and "over 2 paired seeds" in said and "held-out samples of the same kind" in said
    page = (desk / "out/evaluation.html").read_text()
    assert page.count("<svg") == 7 and "768 samples seen" in page


def test_what_is_trained_is_not_trained_again_and_opens_as_a_model(desk, capsys, monkeypatch):
    before = json.loads((desk / "out/evaluation.json").read_text())["measured"]
    monkeypatch.setattr("curate.extras.evaluate.subprocess.Popen", None)  # a training would fail
    (desk / "out/trainings/.training-killed").mkdir()
    assert run(desk, f"{desk}/true.tar", f"{desk}/shuffled.tar") == 0
    assert json.loads((desk / "out/evaluation.json").read_text())["measured"] == before
    assert not list((desk / "out/trainings").glob(".training-*"))
    (first, *_) = sorted((desk / "out/trainings").glob("true-0-*"))
    assert clip(str(first)).encode_texts(["a red square"]).shape == (1, 32)


def test_a_run_against_its_pool_and_a_random_subset(tmp_path):
    """The pool is what was fetched, kept or not; the random subset is as large as the run's shards. No row is made up, none changes."""
    made = pictured(tmp_path)
    pool, some = (
        open_draw(write_fetched(made.store.url, str(tmp_path / n), size))
        for n, size in (("pool", None), ("random", made.dataset["samples"]))
    )
    rows = made.sql("select uid, text from images where image_side is not null").fetchall()
    kept = open_draw(made.store.url)
    assert kept.samples == some.samples == made.dataset["samples"] < pool.samples == len(rows)
    texts = {s.key: s.text for tar in pool.tars for s in samples_in(tar)}
    assert texts == {uid: text.strip() for uid, text in rows}
    drawn = {s.key for tar in some.tars for s in samples_in(tar)}
    assert drawn < set(texts) and drawn != {s.key for tar in kept.tars for s in samples_in(tar)}
    assert open_draw(write_fetched(made.store.url, str(tmp_path / "again"), some.samples)).hash == some.hash
    assert open_draw(write_fetched(made.store.url, str(tmp_path / "other"), some.samples, seed=1)).hash != some.hash
    with pytest.raises(PoolError, match="fewer than the 1,000"):
        write_fetched(made.store.url, str(tmp_path / "more"), 1000)


def test_a_single_run_is_given_its_own_pool(tmp_path, monkeypatch):
    made = pictured(tmp_path)
    tar(tmp_path / "test.tar", 4)
    monkeypatch.setattr("curate.extras.evaluate._Evaluation.run", lambda self: [s.name for s in self.sets])
    how = Training(batch=8)
    assert evaluate([made.store.url], [f"{tmp_path}/test.tar"], str(tmp_path / "out"), how=how) == [
        "run",
        "random subset",
        "pool",
    ]
    two = [made.store.url, f"raw={tmp_path}/out/sets/pool"]
    assert evaluate(two, [f"{tmp_path}/test.tar"], str(tmp_path / "out"), how=how) == ["run", "raw"]


def test_a_training_that_fails_says_why(desk, capsys, monkeypatch):
    monkeypatch.setattr(
        "curate.extras.evaluate.Trainer.lines", lambda self, job: iter(["Start epoch 0", "ValueError: no such optimizer", ""])
    )
    assert run(desk, f"{desk}/true.tar", f"{desk}/shuffled.tar", seeds=1, out=f"{desk}/failed") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "training on true, seed 0: ValueError: no such optimizer" in said and "failed-true-0.log" in said
    assert "Start epoch" in (desk / "failed/trainings/failed-true-0.log").read_text() and not list(
        (desk / "failed/trainings").glob("true-0-*")
    )


@pytest.mark.parametrize(
    "words, says",
    [
        (["{}/nothing.tar", "{}/true.tar"], "no input file matches"),
        (["{}/true.tar", "{}/true.tar"], "two sets are called true"),
        (["{}/true.tar"], "nothing to compare it with"),
        (["pool={}/true.tar", "--pool", "{}"], "two sets are called pool"),
        (["{}/bare.tar", "{}/true.tar"], "nothing to train on"),
        (["{}/small.tar", "{}/true.tar"], "set small: has 8 samples, fewer than a batch of 32"),
        (["s3://bucket/run.tar", "{}/true.tar"], "copy them here first"),
        (["{}/true.tar", "--held-out", "{}/bare.tar"], "nothing to measure on"),
        (["{}/true.tar", "--held-out", "{}/odd/0.tar"], "of class 9, but classnames.txt has 1 lines"),
        (["{}/true.tar", "--model", "ViT-B-23"], "did you mean ViT-B-"),
        (["{}/true.tar", "--model", "{}/classnames.txt.json"], "cannot be read"),
        (["{}/true.tar", "--seeds", "0"], "at least one training a set"),
    ],
)
def test_wrong_input_is_said_in_one_line(desk, capsys, words, says):
    tar(desk / "small.tar", 8)
    tar(desk / "odd/0.tar", 4, classes=9)
    (desk / "odd/classnames.txt").write_text("red\n")
    with tarfile.open(desk / "bare.tar", "w") as out:
        out.addfile(tarfile.TarInfo("a.txt"))
    code = main(
        [
            "evaluate",
            *(w.format(desk) for w in words),
            *([] if "--held-out" in words else ["--held-out", f"{desk}/test"]),
            "--batch-size",
            "32",
            "-o",
            str(desk / "wrong"),
        ]
    )
    said = capsys.readouterr().err
    assert code == 2 and says in said and said.count("\n") == 1


# ---- numbers, by hand


def test_recall_counts_every_picture_of_a_caption_as_right():
    images = np.array([[1, 0], [0.9, 0.1], [0, 1]])
    texts = np.array([[1, 0], [0, 1]])
    assert retrieval(images, texts, [{0}, {0}, {1}]) == {
        f"{way} R@{k}": 1.0 for way in ("image→text", "text→image") for k in (1, 5)
    }
    wrong = retrieval(images, texts, [{0}, {1}, {1}])
    assert wrong["image→text R@1"] == pytest.approx(2 / 3) and wrong["text→image R@1"] == 1.0 and wrong["image→text R@5"] == 1.0


def test_each_line_is_a_caption_and_any_of_a_picture_s_is_right(tmp_path):
    """Three pictures of one colour each, two captions; the model finds a caption for each picture, but not every picture."""
    path = tar(tmp_path / "lines.tar", 3, lambda colour, i: f"a {colour} square \n\n{colour}\n")
    held = open_held_out("lines", path)
    assert held.captions == {f"a {c} square" for c in list(COLOURS)[:3]} | set(list(COLOURS)[:3])

    class Model:
        def encode_images(self, pictures):
            return np.eye(3)

        def encode_texts(self, texts):  # the short caption of every picture is most like the first one
            colours = list(COLOURS)
            return np.array(
                [np.eye(3)[0 if t in COLOURS else colours.index(t.split()[1])] * (0.5 if t in COLOURS else 1) for t in texts]
            )

    assert held.measure(Model())["metrics"] == pytest.approx(
        {"image→text R@1": 1.0, "image→text R@5": 1.0, "text→image R@1": 4 / 6, "text→image R@5": 1.0}
    )


def test_the_most_alike_by_parts_are_those_of_all(monkeypatch):
    monkeypatch.setattr("curate.extras.evaluate.heldout.CHUNK", 4)
    chance = np.random.default_rng(0)
    asked, others = chance.integers(-2, 3, (11, 3)).astype(np.float32), chance.integers(-2, 3, (9, 3)).astype(np.float32)
    assert (_best(asked, others, 5) == np.argsort(-(asked @ others.T), axis=1, kind="stable")[:, :5]).all()


def test_top_1_and_top_5():
    classes = np.eye(6)
    images = np.array([[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]])
    assert classification(images, classes, np.array([0, 1, 4, 5])) == {"top-1": 0.25, "top-5": 0.75}


def test_the_verdict_counts_in_chance():
    assert (
        verdict("a", [0.5, 0.52, 0.51], "b", [0.4, 0.42, 0.4])  # differences 10, 10, 11; t(0.975, 2) = 4.303
        == "a is 10.33 points above b (95 % interval 8.90 to 11.77 over 3 paired seeds): more than chance"
    )
    assert "within chance" in verdict("a", [0.5, 0.3], "b", [0.4, 0.42]) and "one seed" in verdict("a", [0.5], "b", [0.4])


def test_what_is_held_out_is_in_no_set(tmp_path):
    """By caption, and by picture: the same one smaller and as a JPEG."""
    held = open_held_out("held", tar(tmp_path / "held.tar", 2, lambda colour, i: f"held {i}"))
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC) for _ in range(4)
    ]
    made = {"one": (images[0], "own"), "two": (images[1], "held 1"), "three": (images[2], "other"), "four": (images[3], "more")}
    for name, wanted in (("set.tar", made), ("pictures.tar", {"x": (images[2], "text")})):
        with tarfile.open(tmp_path / name, "w") as out:
            for key, (image, text) in wanted.items():
                file = io.BytesIO()
                image.save(file, "PNG") if name == "set.tar" else image.resize((64, 64)).save(file, "JPEG", quality=90)
                for suffix, data in (("png" if name == "set.tar" else "jpg", file.getvalue()), ("txt", text.encode())):
                    info = tarfile.TarInfo(f"{key}.{suffix}")
                    info.size = len(data)
                    out.addfile(info, io.BytesIO(data))
    shown = open_held_out("pictures", str(tmp_path / "pictures.tar"))
    draw = open_draw(str(tmp_path / "set.tar"), [held, shown], str(tmp_path / "clean"))
    assert (draw.samples, draw.captions, draw.pictures, draw.leaked) == (2, 1, 1, {"two", "three"})
    assert {s.key: s.text for t in draw.tars for s in samples_in(t)} == {"one": "own", "four": "more"}
    with pytest.raises(RecipeError, match="all 1 samples are held out"):
        open_draw(str(tmp_path / "pictures.tar"), [shown], str(tmp_path / "none"))


def test_by_language_are_the_pictures_whose_caption_is_found_first(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.extras.evaluate.heldout.LANGUAGE_SAMPLES", 2)
    texts = [
        "a dog runs on the beach with a ball",
        "the old house by the river",
        "ein Hund läuft am Strand mit einem Ball",
        "das alte Haus am Fluss",
    ]
    held = open_held_out("held", tar(tmp_path / "held.tar", 4, lambda colour, i: texts[i]))

    class Model:
        def encode_images(self, pictures):
            return np.eye(4)

        def encode_texts(self, asked):  # the two German ones are mistaken for each other
            return np.eye(4)[[{0: 0, 1: 1, 2: 3, 3: 2}[texts.index(t)] for t in asked]]

    assert held.measure(Model())["languages"] == {"de": 0.0, "en": 1.0}


def test_names_of_sets():
    assert named(["runs/a/", "b=x=y/z", "pool/shards", "c.tar", "/p/q=r"]) == {
        "a": "runs/a/",
        "b": "x=y/z",
        "pool": "pool/shards",
        "c": "c.tar",
        "q=r": "/p/q=r",
    }


def test_the_small_model_is_one_of_open_clip(tmp_path):
    assert configuration("tiny")["vision_cfg"]["image_size"] == 64 and configuration("RN50")["embed_dim"] == 1024
