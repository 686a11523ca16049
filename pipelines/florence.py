"""Florence's FLD-900M (Yuan et al. 2021, arXiv 2111.11432): triples of image, label, description; one text, one label.

For UniCL (arXiv 2204.03610). The pool is private web data, cleaned by rules like ALIGN's; what is special is the triple:
pictures under the same text share a label (the column `caption_label`, over a text that is the same but for case, punctuation
and white space) and are positives of each other. Copies of a picture under one label fall, also resized or recompressed ones.
Length, side and frequency are ours where the paper gives no number; --max-repeats 0 leaves the frequency of texts alone,
since a label on many pictures is wanted here. Published: 900M pairs, 9.7M different queries (the sizes from descriptions of
the paper), 7.5B tokens; ImageNet zero-shot 83.7 %.
"""

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.caption_label import CaptionLabel
from curate.filters.image_side import ImageSide
from curate.filters.script_words import ScriptWords
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    min_words: int = 1,
    max_words: int = 77,
    min_side: int = 200,
    max_repeats: int = 0,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """max_repeats: rows that may share a text; 0: any number, since a label on many pictures is wanted here."""
    return Recipe(
        source=source,
        score=[
            ScriptWords(min=min_words, max=max_words),
            CaptionLabel(),
            *([Frequency(("caption_label",), max=max_repeats)] if max_repeats else []),
            Fetch(),
            ImageSide(min=min_side),
            PerceptualHash(),
        ],
        select=[ExactDedup(key=("phash", "caption_label"), by=("original_width", "original_height"))],
        shards=Shards(size=shard_size, seed=seed),
    )
