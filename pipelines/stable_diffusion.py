"""Stable Diffusion's subset of LAION (https://huggingface.co/stabilityai/stable-diffusion-2): beautiful, safe, large, unmarked.

v2: aesthetic score of 4.5 and more, NSFW probability up to 0.1, then 512 px and more. v1: 512 px and more, aesthetic over
5.0, watermark under 0.5 (LAION-Aesthetics v1: 0.8). --aesthetic is LAION's published head for ViT-L/14 (openai) embeddings;
of NSFW LAION's own head is replaced by open_nsfw (--nsfw-model), whose numbers differ; --watermark names a head of yours
(LAION's is a network on pixels, not a head), without one watermarks are not judged. `aspect_bucket` says at which size a
picture trains beside others of its shape (SDXL, arXiv 2307.01952). Rules of English and of CLIP scores are LAION-2B's: run
laion_2b first. Published: v1 trained on 170M of 1024 px and more, then on LAION-Aesthetics v2 5+.
"""

from curate.fetch.stage import Fetch
from curate.filters.aesthetic import Aesthetic
from curate.filters.aspect_bucket import AspectBucket
from curate.filters.clip_embed import ClipEmbed
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.filters.watermark import Watermark
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    aesthetic: str,
    watermark: str = "",
    model: str = "ViT-L-14:openai",
    min_side: int = 512,
    min_aesthetic: float = 4.5,
    max_nsfw: float = 0.1,
    max_watermark: float = 0.5,
    bucket: int = 512,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """watermark: head that tells watermarks; none: they are not judged.
    min_aesthetic: aesthetic score that a picture needs, about 1 to 10.
    max_watermark: probability of a watermark that a picture may have.
    bucket: batches have pictures of about this number of pixels squared.
    """
    return Recipe(
        source=source,
        score=[
            Fetch(),
            ImageSide(min=min_side),
            AspectBucket(side=bucket),
            ClipEmbed(model=model),
            Aesthetic(head=aesthetic, min=None),
            *([Watermark(head=watermark, max=None)] if watermark else []),
            Nsfw(max=None, model=nsfw_model),
        ],
        select=[
            Where("nsfw", max=max_nsfw, name="max_nsfw"),
            Where("aesthetic", min=min_aesthetic, name="min_aesthetic"),
            *([Where("watermark", max=max_watermark, name="max_watermark")] if watermark else []),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
