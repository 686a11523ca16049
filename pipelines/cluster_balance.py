"""Clusters of pictures in even shares (Vo et al. 2024, arXiv 2405.15613): frequent kinds are subsampled, rare ones kept.

CLIP embeddings, k-means on several levels, each clustering the centroids of the one below; --total rows are shared out from the top
down, evenly among the clusters of each level, and sampled at random within the lowest ones. A cluster with fewer rows than its share
is kept whole. --temper 1 keeps the mix as it is.

Differs: the paper clusters DINOv2's embeddings, on four levels (10 million, 500,000, 50,000 and 10,000 clusters for 743M pictures),
and draws again at each level; here embeddings are CLIP's, and the defaults are for a pool of millions. Published: features learned on
100M pictures so drawn are better than those of the 743M they were drawn from.
"""

from curate.balance.clusters import ClusterBalance
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    total: int,
    model: str = "ViT-B-16:openai",
    levels: tuple[int, ...] = (10_000, 1_000, 100),
    temper: float = 0.0,
    centroids: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """total: rows that are kept, over all clusters.
    levels: numbers of clusters, from the lowest level up.
    temper: 0 gives all clusters the same share, 1 one by their size.
    """
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model)],
        select=[ClusterBalance(total=total, clusters=levels, temper=temper, centroids=centroids, seed=seed)],
        shards=Shards(size=shard_size, seed=seed),
    )
