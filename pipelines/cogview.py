"""CogView's Chinese pairs (Ding et al. 2021, arXiv 2105.13290): captions in Chinese, counted in its own words.

The 30M pairs are private (photo sites, encyclopedias, news, products, image search; a part translated from English) and their
cleaning is not published in numbers. Here: Chinese by fastText and rules of script (Han without kana and without characters that
only Japanese has), so that short captions count; words where two characters make one, one being enough; boilerplate ("click to enlarge",
names of files, QR codes); repetition; sides and ratio as elsewhere; a CLIP score by --model, by default a CLIP with a multilingual
text tower. All bounds are ours; the account of the pool is from descriptions of the paper.
"""

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.boilerplate_text import BoilerplateText
from curate.filters.caption_repetition import CaptionRepetition
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.filters.script_words import ScriptWords
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    languages: tuple[str, ...] = ("zh",),
    model: str = "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k",
    min_clip: float = 0.26,
    min_words: int = 1,
    max_words: int = 100,
    max_repetition: float = 0.5,
    max_boilerplate: float = 0.5,
    min_side: int = 200,
    max_ratio: float = 3.0,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """languages: languages that are kept.
    min_words: words that a text needs; two Chinese characters make one.
    max_words: words that a text may have; two Chinese characters make one.
    max_boilerplate: share of a text that may be what pages and programs write where a caption should be.
    """
    return Recipe(
        source=source,
        score=[
            ScriptWords(min=min_words, max=max_words),
            BoilerplateText(max=max_boilerplate),
            CaptionRepetition(max=max_repetition),
            Language(among=frozenset(languages), model=language_model, rules=True),
            Fetch(),
            ImageSide(min=min_side),
            AspectRatio(max=max_ratio),
            ClipEmbed(model=model),
            ClipScore(),
        ],
        select=[ExactDedup(by=("clip_score",)), Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
