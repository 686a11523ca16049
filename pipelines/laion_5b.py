"""LAION-5B (Schuhmann et al. 2022, arXiv 2210.08402): any language; a CLIP score of 0.28 in English, else 0.26.

Three outcomes of language detection: English, another language, none (too short or unsure; fastText's probability is under
--sure, which is ours; cld3 had its own). English was scored by ViT-B/32 (openai), the rest by a multilingual CLIP; here
--model scores everything, by default an open_clip model with a multilingual text tower. For the very original English part
use laion_2b. Five characters and more, files of 5 kB and more, each URL once (of its rows the smallest uid). Published: 5.85B pairs = 2.3B English + 2.2B
other + 1.3B none.
"""

from curate.dedup.exact import ExactDedup
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
    model: str = "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k",
    min_clip: float = 0.28,
    min_clip_other: float = 0.26,
    sure: float = 0.5,
    min_chars: int = 5,
    min_bytes: int = 5000,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """min_clip: CLIP score that an English pair needs.
    min_clip_other: CLIP score that a pair in another language, or in none, needs.
    sure: probability from which a language counts as told.
    """
    english = f"coalesce(language = 'en' and language_score >= {float(sure)}, false)"
    return Recipe(
        source=source,
        score=[
            ExactDedup(key=("url",)),
            CaptionChars(min=min_chars),
            Language(among=frozenset(), model=language_model),
            Fetch(),
            ImageBytes(min=min_bytes),
            ClipEmbed(model=model),
            ClipScore(),
        ],
        select=[
            Where(
                sql=f"clip_score >= case when {english} then {float(min_clip)} else {float(min_clip_other)} end",
                name="min_clip",
            )
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
