"""M3W's rules (Flamingo, Alayrac et al. 2022, arXiv 2204.14198, appendix A.3): English pages, text and images in page order.

Images with a side under 64 pixels, of more than 3:1, or of a single colour go; pages without images go. Its text heuristics follow
MassiveText (Rae et al. 2021, arXiv 2112.11446): 50 to 100,000 words of 3 to 10 characters, letters, two frequent words, few symbols,
bullets and ellipses (filters.document_massive_text). Published: 43 million pages with 185 million images.

Differs: MassiveText's rules of repetition and its deduplication are not here. What a page declares smaller than 64 pixels, or longer than
3:1, is not fetched. Its explicit-content filters are internal (--max-nsfw asks open_nsfw). Training takes 256 tokens with up to 5 images:
`curate export --format m3w`.
"""

from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.declared_aspect import DeclaredAspect
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_massive_text import DocumentMassiveText
from curate.filters.document_words import DocumentWords
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.filters.single_colour import SingleColour
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    min_words: int = 50,
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """min_words: words that a page needs."""
    unsafe = [Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []
    return Recipe(
        source=source,
        score=[
            DeclaredSize(min=64),
            DeclaredAspect(max=3),
            DocumentImages(min=1, max=None),
            DocumentWords(min=min_words, max=100_000),
            DocumentMassiveText(),
            DocumentLanguage(among={"en"}, min=None),
            *once(Fetch()),
            ImageSide(min=64),
            AspectRatio(max=3.0),
            SingleColour(),
            *unsafe,
            DocumentImages(min=1, max=None, name="document_images_left"),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
