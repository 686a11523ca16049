"""mmc4's rules (Zhu et al. 2023, arXiv 2304.06939): images are placed by what they show, with CLIP and a linear assignment.

Texts of C4 (--c4): lines with an end mark and five words, not of JavaScript or cookies; pages with three sentences, without lorem
ipsum, curly brackets and flagged words; English. URLs without logo, button, icon, plugin, widget; jpeg or png; sides of 150 pixels and
more, at most 2:1; one of images that look the same in a document, and no image that occurs more than 10 times; a CLIP ViT-L/14 cosine
of 0.15 and more with one of the texts, then the assignment, one image a text. With `core`: 4 to 40 texts, 2 to 15 images, three
quarters of them above 0.25.

Published: 365 million pages of C4 became 101 million documents with 571 million images, core 7.3 and 29.9 million. Differs: a text
is a paragraph, there a sentence. C4's 0.99 is langdetect's; fastText is less sure, so that --min-english is MINT-1T's 0.65. Its list
of bad words is replaced by OBELICS' shorter one, its deduplication of spans of three sentences is not here. Images that look the same are
found by their bytes, there by perceptual hashes, and counted in the whole pool, by URL too, there in a sample of 60,000. Images that the
page declares smaller than 150 pixels are not fetched. Its NSFW rule (0.1) and its face filter need their heads: --max-nsfw asks open_nsfw; add Faces.
"""

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.documents.align import Align
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.alt_score import AltScore
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_text import ClipText
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_aligned import DocumentAligned
from curate.filters.document_c4 import DocumentC4
from curate.filters.document_flagged_words import DocumentFlaggedWords
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_texts import DocumentTexts
from curate.filters.image_side import ImageSide
from curate.filters.image_url_words import ImageUrlWords
from curate.filters.nsfw import Nsfw
from curate.filters.paragraph_c4 import ParagraphC4
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source

WORDS = ("logo", "button", "icon", "plugin", "widget")


def recipe(
    source: Source,
    model: str = "ViT-L-14:openai",
    min_align: float = 0.15,
    core: bool = False,
    c4: bool = True,
    min_english: float = 0.65,
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """min_align: CLIP cosine that an image needs with one of the page's paragraphs.
    core: the rules of mmc4-core: 4 to 40 texts, 2 to 15 images, three quarters of them above 0.25.
    c4: ask C4's rules of lines and pages; false for texts that went through them.
    min_english: fastText's probability of English that a page needs.
    """
    unsafe = [Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []
    cheap = [
        *([ParagraphC4(), DocumentC4(), DocumentFlaggedWords(max=0)] if c4 else []),
        DocumentTexts(4, 40) if core else DocumentTexts(min=1),
        DocumentLanguage(among={"en"}, min=min_english),
        ImageUrlWords(words=WORDS, whole=False),
        DeclaredSize(min=150),
        Frequency(("url",), max=10),
        DocumentImages(min=2 if core else 1, max=None),
    ]
    pixels = [
        *once(Fetch()),
        Where(sql="mime in ('image/jpeg', 'image/png')", name="image_format"),
        ImageSide(min=150),
        AspectRatio(max=2),
        *unsafe,
        ExactDedup(("doc_uid", "sha256"), name="repeated_image"),
        Frequency(("sha256",), max=10, name="image_frequency"),
        DocumentImages(min=2 if core else 1, max=15 if core else None, name="document_images_left"),
    ]
    placed = [
        ClipText(model=model),
        ClipEmbed(model=model),
        AltScore(),
        Align(mode="max", model=model, min=min_align, name="best_text"),
        Align(mode="assign", model=model),
    ]
    chosen = [DocumentAligned(min=0.75, above=0.25)] if core else []
    last = DocumentImages(min=2 if core else 1, max=None, name="document_images_placed")
    return Recipe(source, [*cheap, *pixels, *placed, *chosen, last], shards=Shards(size=shard_size, seed=seed))
