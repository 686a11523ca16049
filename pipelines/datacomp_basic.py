"""DataComp's basic filter, as coded in its repository (Gadre et al. 2023, arXiv 2304.14108).

English by fastText's first label, more than two words, more than five characters, shorter side at least 200 px, aspect ratio at
most 3.0, both on the original size. Published: 23 % of CommonPool stays; ImageNet 22.6 % at medium scale, 17.6 % without.

Differs: English is told by the bundled lid.176.ftz; DataComp's .bin is --language-model. Sizes are
of the files as fetched, not of the metadata (datacomp_metadata).
"""

from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(source: Source, language_model: str = "", seed: int = 0, shard_size: int = 10_000) -> Recipe:
    return Recipe(
        source=source,
        score=[
            CaptionWords(min=3),
            CaptionChars(min=6),
            Language(among={"en"}, script_check=False, **({"model": language_model} if language_model else {})),
            Fetch(),
            ImageSide(min=200),
            AspectRatio(max=3.0),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
