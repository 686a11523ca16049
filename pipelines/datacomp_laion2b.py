"""LAION-2B's rule on DataComp's pool (Gadre et al. 2023, arXiv 2304.14108): English, CLIP ViT-B/32 score of 0.28 and more.

The original tells languages apart by cld3, whose English is stricter: of CommonPool it takes 20 %, fastText 49 %. fastText
stands in for it here, so more stays. Published: ImageNet 3.1 / 23.0 / 55.3 / 75.5 % at small to xlarge scale, with a tenth of
the samples.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.28,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    return Recipe(
        source=source,
        score=[Language(model=language_model, script_check=False), Fetch(), ClipEmbed(model=model), ClipScore()],
        select=[Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
