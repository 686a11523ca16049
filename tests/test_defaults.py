"""The columns that steps read by default are columns that something in the house adds."""

import importlib
import pkgutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import schema
from curate.balance.clusters import ClusterBalance
from curate.balance.image_based import ImageBased, NormSim
from curate.dedup.evaluation import Decontaminate
from curate.dedup.semantic import SemanticDedup
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.recipe import Recipe
from curate.selector import Selector
from curate.sources.audio_pairs import AudioPairs
from curate.sources.url_pairs import UrlPairs
from curate.sources.videos import Videos
from curate.sources.web_pages import WebPages
from curate.stage import Filter, Stage, Step, column

ROOMS = ("filters", "dedup", "balance", "select", "fetch", "documents", "videos", "synth")

#: Steps whose base classes are abstract.
ABSTRACT = {Step, Stage, Filter, Selector}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("vectors") / "v.npy"
    np.save(path, np.ones((2, 32), np.float32))
    return str(path)


@pytest.fixture(scope="module")
def steps(vectors) -> list[Step]:
    """One of every step of the house that can be made of its defaults, or of a file."""
    needed = {
        "ClusterBalance": {"total": 1},
        "Decontaminate": {"sets": {"a": vectors}},
        "ImageBased": {"reference": vectors},
        "NormSim": {"target": vectors, "fraction": 0.5},
    }
    kinds = set()
    for info in pkgutil.walk_packages(curate.__path__, "curate."):
        if info.name.split(".")[1] in ROOMS and not info.ispkg:
            module = importlib.import_module(info.name)
            kinds |= {v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Step)} - ABSTRACT
    found = []
    for kind in sorted(kinds, key=lambda k: k.__name__):
        try:
            found.append(kind(**needed.get(kind.__name__, {})))
        except (RecipeError, TypeError):  # it needs more than a default
            continue
    assert len(found) > 100
    return found


def test_every_default_names_a_column_that_something_adds(steps, tmp_path):
    have = {"id", "uid", *schema.FETCHED} | {c for t in schema.TABLES.values() for c in t}
    here = __file__  # any file: no row is read
    (tmp_path / "list.csv").write_text("audio,text\na.wav,a dog\n")
    sources = (WebPages(here), Videos(here), AudioPairs(str(tmp_path / "list.csv")))
    have |= {c for source in sources for t in source.tables for c in source.adds(t)}
    have |= {c for s in steps for c in s.adds()}
    wrong = {s.name: [r for r in s.reads if column(r) not in have] for s in steps if getattr(s, "of", "text")}
    assert not {k: v for k, v in wrong.items() if v}


def made(vectors: str) -> list[Selector]:
    return [
        SemanticDedup(),
        ClusterBalance(total=1),
        ImageBased(reference=vectors),
        NormSim(target=vectors, fraction=0.5),
        Decontaminate(sets={"a": vectors}),
    ]


def test_selectors_of_embeddings_follow_clip_embed_as_they_are(vectors, tmp_path):
    pq.write_table(pa.table({"url": ["http://a/b.jpg"], "text": ["a dog"]}), tmp_path / "x.parquet")
    source = UrlPairs(str(tmp_path / "x.parquet"))
    for selector in made(vectors):
        Recipe(source, [Fetch(), ClipEmbed()], [selector]).check()
        with pytest.raises(
            RecipeError, match="clip_image, the default of column=, which nothing before it provides; put ClipEmbed"
        ):
            Recipe(source, [Fetch()], [selector]).check()
        with pytest.raises(RecipeError, match=r"put ClipEmbed\(\) before it, or did you mean clip_l14_image\?"):
            Recipe(source, [Fetch(), ClipEmbed(name="clip_l14")], [selector]).check()
