"""mmc4's rules (Zhu et al. 2023, arXiv 2304.06939): images are placed by what they show, with CLIP and a linear assignment.

URLs without logo, button, icon, plugin, widget; jpeg or png; sides of 150 pixels and more, at most 2:1; one of images that look
the same in a document, and no image that occurs more than 10 times; a CLIP ViT-L/14 cosine of 0.15 and more with the text it
is assigned to. With `core`: 4 to 40 texts, 2 to 15 images, three quarters of them at 0.25 and more.

Published: 365 million pages of C4 became 101 million documents with 571 million images, core 7.3 and 29.9 million. Here a text
is a paragraph, there a sentence; C4's own rules (English of 0.99) stand for its text filter, and images that look the same are
found by their bytes. Its NSFW rule (0.1) and its face filter need their heads: add Nsfw, Faces.
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
from curate.filters.declared_aspect import DeclaredAspect
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_aligned import DocumentAligned
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_texts import DocumentTexts
from curate.filters.image_side import ImageSide
from curate.filters.image_url_words import ImageUrlWords
from curate.filters.paragraph_words import ParagraphWords
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source

WORDS = ("logo", "button", "icon", "plugin", "widget")


def recipe(
    source: Source,
    model: str = "ViT-L-14:openai",
    min_align: float = 0.15,
    core: bool = False,
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """min_align: CLIP cosine that an image needs with the paragraph it is assigned to.
    core: the rules of mmc4-core: 4 to 40 texts, 2 to 15 images, three quarters of them at 0.25 and more.
    """
    cheap = [
        ImageUrlWords(words=WORDS),
        DeclaredSize(min=150),
        DeclaredAspect(max=2),
        Frequency(("url",), max=10),
        ParagraphWords(min=3, max=None),
        DocumentTexts(4, 40) if core else DocumentTexts(min=1),
        DocumentImages(min=2 if core else 1, max=None),
        DocumentLanguage(among={"en"}, min=0.99),
    ]
    pixels = [
        *once(Fetch()),
        Where(sql="mime in ('image/jpeg', 'image/png')", name="image_format"),
        ImageSide(min=150),
        AspectRatio(max=2),
        ExactDedup(("doc_uid", "sha256"), name="repeated_image"),
        Frequency(("sha256",), max=10, name="image_frequency"),
        DocumentImages(min=2 if core else 1, max=15 if core else None, name="document_images_left"),
    ]
    placed = [ClipText(model=model), ClipEmbed(model=model), AltScore(), Align(mode="assign", model=model, min=min_align)]
    chosen = [DocumentAligned(min=0.75, above=0.25)] if core else []
    last = DocumentImages(min=2 if core else 1, max=None, name="document_images_placed")
    return Recipe(source, [*cheap, *pixels, *placed, *chosen, last], shards=Shards(size=shard_size, seed=seed))
