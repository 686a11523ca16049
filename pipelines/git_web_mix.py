"""GIT's mix (Wang et al. 2022, arXiv 2205.14100): curated caption sets beside far more raw web pairs, each picture once.

GIT: COCO, CC3M, SBU, Visual Genome, CC12M, ALT200M and 0.6B pairs gathered like ALT200M: 0.8B in all, the last two private.
SimVLM (2108.10904) takes ALIGN's pairs. Give several pools (--pool A B C) and, to bound what each adds, --budgets
name=samples,... with a part of each pool's path as its name; without budgets everything stays, as published. Loose rules for
all pools (--min-words, --min-side, ours). Between pools a picture stays once, as its largest copy. Published: 0.8B pairs.
"""

from curate.balance.budget import Budget
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.image_side import ImageSide
from curate.filters.script_words import ScriptWords
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    budgets: dict[str, float] | None = None,
    min_words: int = 2,
    min_side: int = 160,
    crops: bool = False,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """crops: take a cut-out for a copy of the whole picture."""
    return Recipe(
        source=source,
        score=[ScriptWords(min=min_words), Fetch(), ImageSide(min=min_side), PerceptualHash()],
        select=[NearDedup(mirror=False, crops=crops), *([Budget(budgets, seed=seed)] if budgets else [])],
        shards=Shards(size=shard_size, seed=seed),
    )
