"""Every filter obeys the laws; and the laws notice filters that do not."""

import subprocess
import sys
from dataclasses import dataclass

import laws
import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file
from tiny import tiny_clip

from curate.stage import Filter, Stage

CLASSES = laws.classes()


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Parameters for the classes that cannot run without a file of the user's."""
    folder = tmp_path_factory.mktemp("files")
    save_file({"weight": np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)}, folder / "head.safetensors")
    (folder / "words.txt").write_text("a\t9\ndog\t7\nrare\t1\n")
    head = {"head": str(folder / "head.safetensors")}
    return {
        "clip_embed": {"model": (tiny := tiny_clip(folder / "tiny"))},
        "clip_text": {"model": tiny},
        "aesthetic": head,
        "watermark": head,
        "masked_clip_score": {"model": tiny},
        "grounding": {"detector": "python:test_laws:boxes"},
        "listed_words": {"words": str(folder / "words.txt")},
        "rare_tokens": {"vocabulary": str(folder / "words.txt")},
        "paragraph_perplexity": {"model": "python:test_laws:shouting"},
        "url_blocklist": {"list": str(folder / "words.txt")},
        "toxicity": {"model": "python:test_laws:shouting"},
    }


def shouting(texts: list[str]) -> list[float]:
    """A toxicity model of one line: the share of capitals."""
    return [sum(map(str.isupper, t)) / (len(t) or 1) for t in texts]


def boxes(images: list, phrases: list[list[str]]) -> list[list[tuple]]:
    """A detector that finds every phrase, the longer the surer, side by side."""
    return [[(i, min(1.0, len(p) / 9), [i / 99, 0.0, (i + 1) / 99, 1.0]) for i, p in enumerate(each)] for each in phrases]


@pytest.fixture(scope="session")
def examples(models):
    """One loaded stage of every class."""
    made = {}

    def example(name: str) -> Stage:
        if name not in made:
            made[name] = CLASSES[name](**models.get(name, {}))
            if made[name].loads:
                made[name].load()
        return made[name]

    return example


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", CLASSES)
def test_law(name, law, examples):
    law(examples(name))


@pytest.mark.parametrize("name", CLASSES)
def test_names(name, examples):
    laws.named(examples(name), name)


def test_no_filter_hides_under_another_name():
    assert laws.strays() == []
    assert len(CLASSES) > 20


def test_importing_filters_is_light():
    code = (
        "import sys, pkgutil, importlib, curate.filters as f\n"
        "for m in pkgutil.iter_modules(f.__path__): importlib.import_module('curate.filters.' + m.name)\n"
        "heavy = ('ray', 'torch', 'open_clip', 'transformers', 'faiss', 'onnxruntime', 'fasttext', 'rapidocr', 'cv2')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        == "[]"
    )


@dataclass
class Ranks(Filter):
    """Not local: the score depends on the other rows."""

    reads = ("text",)

    def score(self, live: pa.Table) -> np.ndarray:
        return np.arange(len(live), dtype=float)


@dataclass
class Short(Filter):
    """Loses a row."""

    reads = ("text",)

    def score(self, live: pa.Table) -> pa.Array:
        return pa.nulls(max(0, len(live) - 1), pa.float32())


@dataclass
class Lenient(Filter):
    """Lets nulls pass."""

    reads = ("text",)

    def score(self, live: pa.Table) -> pa.Array:
        return pa.nulls(len(live), pa.float32())

    def judge(self, columns: pa.Table) -> pa.Array:
        return pa.nulls(len(columns), pa.large_string())


@dataclass
class Forgetful(Filter):
    """A parameter that its copies do not have."""

    reads = ("text",)
    words: frozenset[str] = frozenset({"a"})

    def __post_init__(self):
        super().__post_init__()
        self.words = sorted(self.words)[:1] + [str(id(self))]

    def score(self, live: pa.Table) -> pa.Array:
        return pa.nulls(len(live), pa.float32())


@pytest.mark.parametrize(
    "kind, law",
    [(Ranks, laws.row_locality), (Short, laws.conservation), (Lenient, laws.null_is_a_drop), (Forgetful, laws.rebuilt)],
)
def test_the_laws_notice(kind, law):
    with pytest.raises(AssertionError):
        law(kind())
