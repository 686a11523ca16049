"""A recipe with every kind of selector over made pictures, in a file that workers cannot import; its files lie on the driver's disk."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.balance.budget import Budget
from curate.balance.caps import Caps
from curate.balance.clusters import ClusterBalance
from curate.balance.image_based import ImageBased, NormSim
from curate.balance.metaclip import Balance
from curate.balance.text_based import TextBased
from curate.dedup.evaluation import Decontaminate
from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.fetch.stage import Fetch
from curate.filters.listed_words import ListedWords
from curate.recipe import Recipe, Shards
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.stage import Stage
from curate.synth.choose import CaptionRepeats
from curate.synth.matching import MatchingNegatives


@dataclass
class Direction(Stage):
    """Stands in for a model: vectors and scores that follow from the uid."""

    def adds(self):
        return {"v": pa.list_(pa.float16()), "score": pa.float32(), "caption_b": pa.large_string()}

    def run(self, live: pa.Table) -> pa.Table:
        seeds = [int(u[:8], 16) for u in live["uid"].to_pylist()]
        base = np.random.default_rng(0).normal(size=(40, 8))
        vectors = [base[s % 40] + 0.3 * np.random.default_rng(s).normal(size=8) for s in seeds]
        return pa.table(
            {
                "v": pa.array([v.astype(np.float16) for v in vectors], pa.list_(pa.float16())),
                "score": pa.array([s % 997 / 997 for s in seeds], pa.float32()),
                "caption_b": pa.array([f"made {s % 30}" for s in seeds], pa.large_string()),
            }
        )


def recipe(source, files) -> Recipe:
    select = [
        CaptionRepeats("caption_b", max=4),
        MatchingNegatives("v", "text", "v", group=16, margin=2.0),
        ExactDedup(),
        NearDedup(crops=False, by=("score",)),
        Decontaminate({"vectors": files["npy"], "folder": files["folder"]}, column="v", min=0.97),
        SemanticDedup("v", eps=0.01),
        TextDedup(min=0.9),
        Frequency(("text",), max=6),
        TextBased(files["synsets"], files["wordnet"]),
        Balance(files["entries"], t=30),
        ImageBased(files["npy"], "v", clusters=6),
        NormSim(files["npy"], "v", fraction=0.9),
        ClusterBalance(150, "v", clusters=(5,)),
        Caps(("caption_b",), max=20),
        Budget({"pool": 400}),
        TopFraction("score", 0.95),
        Where("score", min=0.01),
    ]
    return Recipe(
        source,
        [ListedWords(min=1, words=files["words"]), Fetch(), PerceptualHash(), Direction()],
        select,
        shards=Shards(size=40),
        name="every selector",
    )
