"""DALL-E's pairs (Ramesh et al. 2021, arXiv 2102.12092): captions that are long enough, English and no boilerplate.

Conceptual Captions, a part of YFCC and a private crawl. Captions: too short ones fall (--min-words, ours: no number is
published), those not English by cld3 (here fastText), those that are mostly boilerplate such as "photographed on ...".
Pictures: ratio within 1/2 and 2. Published: 250M pairs.
"""

from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.boilerplate_text import BoilerplateText
from curate.filters.caption_words import CaptionWords
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    min_words: int = 3,
    max_boilerplate: float = 0.5,
    max_ratio: float = 2.0,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """max_boilerplate: share of a text that may be boilerplate."""
    return Recipe(
        source=source,
        score=[
            CaptionWords(min=min_words),
            BoilerplateText(max=max_boilerplate),
            Language(model=language_model),
            Fetch(),
            AspectRatio(max=max_ratio),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
