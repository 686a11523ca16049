"""DataComp-1B (Gadre et al. 2023, arXiv 2304.14108): the image-based filter and the 30 % with the highest CLIP score, both.

As in its code the cut of the score is taken over the whole pool, before the rules of captions, and asked last. --reference is a .npy file
with the embeddings of ImageNet-1k by the same model. The best baseline at medium, large and xlarge scale: ImageNet 29.7 /
63.1 / 79.2 %, with 14M / 140M / 1.4B of the samples.

Differs: English is told by the bundled lid.176.ftz; DataComp's .bin is --language-model.
"""

from curate.balance.image_based import ImageBased
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    reference: str,
    model: str = "ViT-L-14:openai",
    fraction: float = 0.3,
    clusters: int = 100_000,
    centroids: str = "",
    kmeans: str = "spherical",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """centroids: .npy file of centroids, as DataComp published them; none: trained on the pool.
    kmeans: how they are trained: spherical, on a sample, or l2, as DataComp did, on all rows.
    """
    return Recipe(
        source=source,
        score=[
            Fetch(),
            ClipEmbed(model=model),
            ClipScore(),
            TopFraction("clip_score", fraction, mark="top_fraction"),
            CaptionWords(min=2),
            CaptionChars(min=6),
            Language(model=language_model, script_check=False),
        ],
        select=[
            ImageBased(
                reference=reference, column="clip_image", clusters=clusters, centroids=centroids, kmeans=kmeans, seed=seed
            ),
            Where(sql="top_fraction"),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
