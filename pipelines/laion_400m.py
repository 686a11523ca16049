"""LAION-400M (Schuhmann et al. 2021, arXiv 2111.02114): English alt texts with a CLIP ViT-B/32 score of 0.3 and more.

Five characters and more, image files of 5 kB and more, each (text, URL) once. English was told by cld3; here by fastText,
which takes more for English. Illegal images were removed by CLIP's text prompts, which are not published: not covered. NSFW
was a tag and dropped nothing: the column `nsfw`. Published: 413M pairs, 211M of them 256 px and more on both sides; ImageNet
72.7 % with OpenCLIP's ViT-L/14.
"""

from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_bytes import ImageBytes
from curate.filters.language import Language
from curate.filters.nsfw import Nsfw
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.3,
    min_chars: int = 5,
    min_bytes: int = 5000,
    language_model: str = "",
    nsfw_model: str = "",
    tag_nsfw: bool = True,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """tag_nsfw: score pictures for the column nsfw, which drops nothing."""
    return Recipe(
        source=source,
        score=[
            CaptionChars(min=min_chars),
            Language(model=language_model),
            Fetch(),
            ImageBytes(min=min_bytes),
            ClipEmbed(model=model),
            ClipScore(),
            *([Nsfw(max=None, model=nsfw_model)] if tag_nsfw else []),
        ],
        select=[Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
