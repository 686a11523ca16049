"""OmniCorpus' rules (Li et al. 2024, arXiv 2406.08418, section 3.2 and its released code), in the order that its own table found
cheapest: text rules, deduplication, images last (2.3 hours instead of 278 for a billion pages).

Paragraphs: over 4 words, flagged words under 0.02, and its rules made by people (filters.paragraph_omni_corpus). Pages: 50 to 100,000
words of 3 to 10 characters, more than 0.8 of them with a letter, two occurrences of ten frequent words, flagged words 0.02, a paragraph
of 35 words or a mean of 12, 50 words for each image of pages with more than two; near-duplicate pages by MinHash at a Jaccard
similarity of 0.8; images of 150 pixels and more, at most 2:1, none that occurs more than 10 times, aesthetic score 3.7 and more where
`aesthetic` names the predictor's file. Published: 988 million documents of Common Crawl, the best 210 million of which train better than
all.

Differs: pages in other scripts than Latin, which it filters by rules of Chinese, are not asked the English rules of words. Of its rules for
paragraphs those that look at neighbours or change the text are missing. Images that the page declares smaller than 150 pixels are not
fetched; images that occur often are found by their bytes. Its BERT scores and its NSFW rule (0.8) need their models: --max-nsfw asks open_nsfw.
"""

import math

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.text import TextDedup
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.aesthetic import Aesthetic
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.clip_embed import ClipEmbed
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_flagged_words import DocumentFlaggedWords
from curate.filters.document_images import DocumentImages
from curate.filters.document_massive_text import DocumentMassiveText
from curate.filters.document_paragraph_length import DocumentParagraphLength
from curate.filters.document_text import DocumentText
from curate.filters.document_words import DocumentWords
from curate.filters.document_words_per_image import DocumentWordsPerImage
from curate.filters.image_side import ImageSide
from curate.filters.nsfw import Nsfw
from curate.filters.paragraph_flagged_words import ParagraphFlaggedWords
from curate.filters.paragraph_omni_corpus import ParagraphOmniCorpus
from curate.filters.paragraph_words import ParagraphWords
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.stage import below

#: Two occurrences of these a page needs.
WORDS = ("the", "is", "are", "am", "to", "of", "and", "that", "have", "with")


def recipe(
    source: Source,
    model: str = "ViT-L-14:openai",
    aesthetic: str = "",
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """aesthetic: file of the aesthetic head for the model's embeddings; none: beauty is not judged."""
    unsafe = [Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []
    text = [
        DeclaredSize(min=150),
        ParagraphWords(min=5, max=None),
        ParagraphFlaggedWords(max=below(0.02)),
        ParagraphOmniCorpus(),
        DocumentImages(min=1, max=None),
        DocumentWords(50, 100_000),
        DocumentMassiveText(words=WORDS, letters=math.nextafter(0.8, 1), lines=False),
        DocumentFlaggedWords(max=0.02),
        DocumentParagraphLength(),
    ]
    dedup = [DocumentText(), TextDedup("document_text", min=0.8, table="documents")]
    pixels = [
        *once(Fetch()),
        ImageSide(min=150),
        AspectRatio(max=2),
        *unsafe,
        ExactDedup(("doc_uid", "sha256"), name="repeated_image"),
        Frequency(("sha256",), max=10, name="image_frequency"),
    ]
    beauty = [ClipEmbed(model=model), Aesthetic(head=aesthetic, min=3.7)] if aesthetic else []
    last = [DocumentImages(min=1, max=None, name="document_images_left"), DocumentWordsPerImage(min=50)]
    return Recipe(
        source,
        [*text, *dedup, *pixels, *beauty, *last],
        shards=Shards(size=shard_size, seed=seed, without=("document_text",)),
    )
