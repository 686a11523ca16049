"""SemDeDup (Abbas et al. 2023, arXiv 2303.09540): one of several semantically similar pictures is kept.

CLIP embeddings, spherical k-means (50,000 clusters for LAION-440M, at most one a row), and inside a cluster, from the picture that is
farthest from the centroid to the nearest, each falls whose cosine with any before it is above 1 - eps, also with one that fell: the
rule of its code. --published no keeps to what every other dedup here does: a row is dropped only for one that is kept, and two clusters are
looked at instead of one. Before it stand LAION-400M's cheap rules and CLIP score.

Differs: the paper sets eps by the share that stays (63, 50, 40 % of LAION-440M), which hangs on the embedding; 0.05 is ours. Its
pool had also been filtered by captions of objects and actions. k-means is trained on 64 rows a cluster. Published: half of LAION-440M
trains as well as all of it, and better out of distribution.
"""

from curate.dedup.semantic import SemanticDedup
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_bytes import ImageBytes
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "ViT-B-16:openai",
    eps: float = 0.05,
    clusters: int = 50_000,
    published: bool = True,
    centroids: str = "",
    min_clip: float = 0.3,
    min_chars: int = 5,
    min_bytes: int = 5000,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """eps: pictures with a cosine above 1 - eps mean the same.
    published: the rule of its code, in which dropped rows drop others; no: a row is dropped only for one that is kept.
    """
    rule = {"probes": 1, "keep": "hard", "inclusive": False, "published": True} if published else {"by": ("clip_score",)}
    return Recipe(
        source=source,
        score=[
            CaptionChars(min=min_chars),
            Language(model=language_model),
            Fetch(),
            ImageBytes(min=min_bytes),
            ClipEmbed(model=model),
            ClipScore(),
        ],
        select=[
            Where("clip_score", min=min_clip),
            SemanticDedup(eps=eps, clusters=clusters, centroids=centroids, seed=seed, **rule),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
