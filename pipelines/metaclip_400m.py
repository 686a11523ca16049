"""MetaCLIP-400M (Xu et al. 2023, arXiv 2309.16671): English pairs that match 500,000 entries, balanced with t = 20,000.

English; each (text, URL) once; an entry matches as a whole word; a row stays with probability 1 - prod(1 - t / count) over
its entries. --entries is the published `metadata.json`. The authors balance last, so that what does not arrive is not
counted: as here, after the fetch and exact duplicates. Their NSFW rules are not published: --max-nsfw is ours (1: keep all).
Published: 1.6B matched pairs become 400M; 3.2 % of entries hold 94.5 % of matches. ImageNet 65.5 / 70.8 / 76.2 % with
ViT-B/32, B/16, L/14 (CLIP: 63.4 / 68.3 / 75.5); unbalanced at equal compute 61.9.
"""

from curate.balance.metaclip import Balance
from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.language import Language
from curate.filters.nsfw import Nsfw
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    entries: str,
    t: float = 20_000,
    max_nsfw: float = 0.5,
    language_model: str = "",
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """t: draws of an entry, about."""
    return Recipe(
        source=source,
        score=[Language(model=language_model), Fetch(), *([Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw < 1 else [])],
        select=[ExactDedup(key=("sha256", "text")), Balance(entries=entries, t=t, seed=seed)],
        shards=Shards(size=shard_size, seed=seed),
    )
