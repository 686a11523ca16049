"""DataComp's image-based filter (Gadre et al. 2023, arXiv 2304.14108): pictures in clusters of ImageNet's.

First the cheap rule of its code, which is not that of its basic filter: English, two words and more, six characters and more.
Then CLIP ViT-L/14 embeddings, --clusters centroids trained on the pool, and of them those that are nearest to a row of
--reference, a .npy file with the embeddings of ImageNet-1k by the same model. Published: 4.3 / 26.8 / 57.2 % of ImageNet at
small / medium / large scale, with 3.0M / 29M / 293M of the samples.

Differs: English is told by the bundled lid.176.ftz; DataComp's .bin is --language-model. Words are cut at
white space, where fastText's tokeniser also counts newlines. Given --centroids are compared as they are, by the inner product, as in its
code; without, k-means is spherical, on 64 rows a cluster with large ones cut: --kmeans l2 is its own, on all rows.
"""

from curate.balance.image_based import ImageBased
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.clip_embed import ClipEmbed
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    reference: str,
    model: str = "ViT-L-14:openai",
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
            CaptionWords(min=2),
            CaptionChars(min=6),
            Language(model=language_model, script_check=False),
            Fetch(),
            ClipEmbed(model=model),
        ],
        select=[
            ImageBased(
                reference=reference, column="clip_image", clusters=clusters, centroids=centroids, kmeans=kmeans, seed=seed
            )
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
