"""ALIGN (Jia et al. 2021, arXiv 2102.05918): raw alt texts, cleaned by frequency alone.

Pictures: shorter side of more than 200 px, ratio under 3, not pornographic, not with more than 1,000 alt texts, not near a
picture of the evaluation sets (--evaluation name=folder,...). Texts: not on more than 10 pictures, 3 to 20 words, every word
and every pair of neighbours among the 100 million most frequent of the raw pool (--vocabulary, a file with a line for each;
counts after a tab; the published list is private). Pornography by an unnamed model; here open_nsfw. Near duplicates by
perceptual hash, theirs is not described. Published: 1.8B pairs; ImageNet zero-shot 76.4 % with EfficientNet-L2 and
BERT-large.
"""

import math

from curate.dedup.evaluation import Decontaminate
from curate.dedup.frequency import Frequency
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.filters.rare_tokens import RareTokens
from curate.filters.script_words import ScriptWords
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    vocabulary: str,
    min_side: int = 201,
    max_ratio: float = math.nextafter(3.0, 0),
    max_images: int = 10,
    max_texts: int = 1000,
    min_words: int = 3,
    max_words: int = 20,
    max_nsfw: float = 0.5,
    nsfw_model: str = "",
    evaluation: dict[str, str] | None = None,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """vocabulary: file of the words and pairs of words that a text may have, one a line, a count after a tab;
        `curate vocabulary --bigrams --most 1e8` makes one of the pool.
    max_images: images that may share a text.
    max_texts: texts that an image may have.
    evaluation: evaluation sets whose pictures must not be in the pool: name=folder or tar.
    """
    return Recipe(
        source=source,
        score=[
            ScriptWords(min=min_words, max=max_words),
            RareTokens(vocabulary=vocabulary, count=1, bigrams=True),
            Fetch(),
            ImageSide(min=min_side),
            AspectRatio(max=max_ratio),
            Nsfw(max=max_nsfw, model=nsfw_model),
            *([PerceptualHash()] if evaluation else []),
        ],
        select=[
            Frequency(("text",), max=max_images, distinct="sha256", name="images_of_text"),
            Frequency(("sha256",), max=max_texts, distinct="text", name="texts_of_image"),
            *([Decontaminate(evaluation)] if evaluation else []),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
