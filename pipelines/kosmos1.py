"""KOSMOS-1's rules for interleaved pages (Huang et al. 2023, arXiv 2302.14045, appendix A.2).

English; images that stand inside the text, none with a side under 64 pixels or of a single colour; no gibberish (symbols, runs
of links); at most 5 images of a page, the first ones, and half of the pages with one image. Published: 71 million of 2 billion
pages.

Differs: what it calls gibberish has no published bound; OBELICS' bounds stand here. What a page declares smaller than 64 pixels is not
fetched. --images 0 keeps all images, --single 1 all pages with one, for a pool whose training windows
(`curate export --format kosmos --single 0.5`) apply both rules.
"""

from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_one_image import DocumentOneImage
from curate.filters.document_texts import DocumentTexts
from curate.filters.image_order import ImageOrder
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.filters.paragraph_links import ParagraphLinks
from curate.filters.paragraph_symbols import ParagraphSymbols
from curate.filters.paragraph_words import ParagraphWords
from curate.filters.single_colour import SingleColour
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    images: int = 5,
    single: float = 0.5,
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """images: images of a page that stay, in page order; 0: all.
    single: share of the pages with one image that stays.
    """
    unsafe = [Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []
    return Recipe(
        source=source,
        score=[
            DeclaredSize(min=64),
            ParagraphWords(min=4, max=None),
            ParagraphSymbols(max=0.3),
            ParagraphLinks(),
            DocumentTexts(min=1),
            DocumentImages(min=1, max=None),
            DocumentLanguage(among={"en"}, min=None),
            *once(Fetch()),
            ImageSide(min=64),
            SingleColour(),
            *unsafe,
            DocumentImages(min=1, max=None, name="document_images_left"),
            DocumentOneImage(max=single, seed=seed),
            *([ImageOrder(max=images)] if images else []),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
