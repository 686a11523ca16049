"""Data filtering networks (Fang et al. 2023, arXiv 2309.17425): the 15 % that a small CLIP, trained to filter, scores highest.

The network that made DFN-2B and DFN-5B (a ViT-B/32 trained on 357M verified pairs) is private; the default is the one that
Apple published, trained on CC12M, CC3M and Shutterstock 15M. Any CLIP will do by its name. Published, with the private one:
2B of 12.8B samples, ImageNet 81.4 % with ViT-L/14; with the public one 30.7 / 59.1 % at medium / large scale. A filter's own
accuracy does not tell how it filters.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.select.top_fraction import TopFraction
from curate.source import Source


def recipe(
    source: Source, model: str = "hf-hub:apple/DFN-public", fraction: float = 0.15, seed: int = 0, shard_size: int = 10_000
) -> Recipe:
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipScore()],
        select=[TopFraction("clip_score", fraction)],
        shards=Shards(size=shard_size, seed=seed),
    )
