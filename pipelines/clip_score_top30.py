"""DataComp's strongest simple baseline: the 30 % of the pool with the highest CLIP score (arXiv 2304.14108, section 4.1).

Ties at the cut stay, as in its code. Published with OpenAI's ViT-L/14: ImageNet 27.3 % at medium scale (none: 17.6 %), 76.4 % at
xlarge. Loose rules before the model only save money: nothing that they drop could be scored.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.select.top_fraction import TopFraction
from curate.source import Source


def recipe(
    source: Source, model: str = "ViT-L-14:openai", fraction: float = 0.3, seed: int = 0, shard_size: int = 10_000
) -> Recipe:
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipScore()],
        select=[TopFraction("clip_score", fraction)],
        shards=Shards(size=shard_size, seed=seed),
    )
