"""Imagen's training pairs (Saharia et al. 2022, arXiv 2205.11487): LAION-400M and 460M private pairs, in part cleaned.

The paper says of a part of the private pairs that noise, pornography and toxic language were removed, and gives no rule.
Here: LAION-400M's rules for pairs (English, five characters, 5 kB, CLIP ViT-B/32 of 0.3 and more), NSFW up to --max-nsfw and,
with a model of --toxicity (as filters.toxicity takes them), toxic captions out at DataComp's 0.1. The base model sees 64 px:
--min-side is 64, more for the super-resolution models. Published: 860M pairs (from descriptions of the paper); zero-shot FID
7.27 on COCO.
"""

from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_bytes import ImageBytes
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.filters.nsfw import Nsfw
from curate.filters.toxicity import Toxicity
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    toxicity: str = "",
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.3,
    max_nsfw: float = 0.5,
    max_toxicity: float = 0.1,
    min_side: int = 64,
    nsfw_model: str = "",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """toxicity: model of toxic texts, as filters.toxicity takes them; none: texts are not judged.
    max_toxicity: probability of toxicity that a text may have.
    """
    return Recipe(
        source=source,
        score=[
            CaptionChars(min=5),
            Language(model=language_model),
            *([Toxicity(model=toxicity, max=max_toxicity)] if toxicity else []),
            Fetch(),
            ImageBytes(min=5000),
            ImageSide(min=min_side),
            ClipEmbed(model=model),
            ClipScore(),
            Nsfw(max=max_nsfw, model=nsfw_model),
        ],
        select=[Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
