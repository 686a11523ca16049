"""LAION-2B-en (Schuhmann et al. 2022, arXiv 2210.08402): LAION-400M's rules with a CLIP score of 0.28.

English by cld3, here by fastText, which takes more for English; five characters and more; files of 5 kB and more, and none
too large to decode (the fetch's own cap of pixels); each URL once, of its rows the one with the smallest uid, whatever the order of
the list. Tagged and not
dropped: NSFW by a head on ViT-L/14 features, here the column `nsfw` by another model; watermarks, if --watermark names a head
for --model's embeddings. Published: 2.3B pairs of more than 50B candidates; with OpenCLIP's ViT-B/32 66.6 % of ImageNet at
34B samples seen.
"""

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_bytes import ImageBytes
from curate.filters.language import Language
from curate.filters.nsfw import Nsfw
from curate.filters.watermark import Watermark
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.28,
    min_chars: int = 5,
    min_bytes: int = 5000,
    language_model: str = "",
    nsfw_model: str = "",
    tag_nsfw: bool = True,
    watermark: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """tag_nsfw: score pictures for the column nsfw, which drops nothing.
    watermark: head for the model's embeddings that tells watermarks; none: they are not scored.
    """
    return Recipe(
        source=source,
        score=[
            ExactDedup(key=("url",)),
            CaptionChars(min=min_chars),
            Language(model=language_model),
            Fetch(),
            ImageBytes(min=min_bytes),
            ClipEmbed(model=model),
            ClipScore(),
            *([Nsfw(max=None, model=nsfw_model)] if tag_nsfw else []),
            *([Watermark(head=watermark, max=None)] if watermark else []),
        ],
        select=[Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
