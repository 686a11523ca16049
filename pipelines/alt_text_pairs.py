"""Pairs from pages: each image with its caption, alt text or title, as LAION and ALIGN made theirs.

ALIGN (Jia et al. 2021, arXiv 2102.05918): alt texts of 3 to 20 words that at most 10 images share, images with at most 1,000
texts (by their URLs here), shorter side over 200 pixels, under 3:1. LAION (Schuhmann et al. 2021, arXiv 2111.02114): alt texts of 5 characters and more, and a CLIP
ViT-B/32 cosine of 0.3 and more; 0.28 in LAION-5B (2210.08402), the default here. `samples="images"` is all that makes
pairs of a pool of pages. Not here: ALIGN's rule of rare words, and what either says of pornography and of English (recipes align,
laion_2b); each file once, with its best text, is ours.
"""

import math

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.28,
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    min_side: int = 201,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    return Recipe(
        source=source,
        samples="images",
        score=[
            CaptionChars(min=5),
            CaptionWords(min=3, max=20),
            Frequency(("text",), distinct="url", max=10, name="text_frequency"),
            Frequency(("url",), distinct="text", max=1000, name="image_frequency"),
            ExactDedup(("url", "text"), name="repeated_pair"),
            *once(Fetch()),
            ImageSide(min=min_side),
            AspectRatio(max=math.nextafter(3.0, 0)),
            *([Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []),
            ClipEmbed(model=model),
            ClipScore(),
        ],
        select=[ExactDedup(("sha256",), by=("clip_score",)), Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
