"""`from curate import ...`: every building block by its name, loaded when it is used."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import curate
from curate.selector import Selector
from curate.source import Source
from curate.stage import Filter, Stage

#: What others are made of, and what every recipe has by itself.
BASES = {
    "DocumentFilter",
    "EmbeddingHead",
    "Scored",
    "TextStage",
    "ModelStage",
    "Decode",
    "DuplicateUid",
    "SharedUrl",
    "SharedFetch",
    "Img2Dataset",
}
BLOCKS = ("filters", "fetch", "dedup", "balance", "select", "synth", "documents", "videos", "sources")


def test_every_stage_selector_and_source_is_there():
    missing = []
    for package in BLOCKS:
        folder = importlib.import_module(f"curate.{package}")
        for info in pkgutil.walk_packages(folder.__path__, f"curate.{package}."):
            module = importlib.import_module(info.name)
            for name, found in vars(module).items():
                mine = inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_")
                if mine and issubclass(found, (Stage, Selector, Source)) and name not in BASES and found is not Filter:
                    if getattr(curate, name, None) is not found:
                        missing.append(f"{info.name}.{name}")
    assert not missing


def test_a_recipe_of_ten_lines_needs_one_import():
    code = """
from curate import *
made = Recipe(
    UrlPairs("list.parquet"),
    score=[CaptionWords(min=3), Fetch(), ImageSide(min=200), ClipEmbed(model="small"), ClipScore()],
    select=[ExactDedup(by=("clip_score",)), TopFraction("clip_score", 0.3), Balance(words=1000, t=20)],
    shards=Shards(size=1000),
)
import sys
print(len(made.score), [m for m in ("ray", "torch", "faiss", "transformers") if m in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "5 []"


def test_a_name_that_is_not_there():
    assert not hasattr(curate, "CaptionWord") and "CaptionWords" in dir(curate) and curate.open.__name__ == "open_run"
