"""OBELICS' rules for interleaved documents (Laurençon et al. 2023, arXiv 2306.16527, section 3.2, appendix A and released code).

Paragraphs: 4 to 1,000 words, repetition of 10 characters at most 0.1 and of 5 words 0.1, special characters 0.3, stop words 0.3
and more, flagged words 0.01, punctuation 0.001 and more; a paragraph that a site has three times goes with every copy; at last
spam words under 0.12. Documents: 10 to 2,000 words, 0.1, 0.2, 0.275, 0.35, 0.01, 0.03, English of 0.8 in lower case. Images: jpg,
png or webp, sides of 150 to 20,000 pixels, at most 2:1, URLs without its eight words, URLs seen at most 10 times, none twice in a
document; 1 to 30 in a document. The newest page of those with the same set of images, and of those with the same URL. Words,
lists and bounds are those of its code.

Published: 1.1 billion pages became 141 million documents with 353 million images. Differs: OBELICS fetched first, so its rules of
images came before those of documents; here only what the rules of text leave is asked for, each URL once. Images that look the same
in a page are found by their bytes too. Special characters are all but letters, where its code has a list. --perplexity names the
language model of its perplexity rule (1,500 at most, of paragraphs; its release asks it of documents), --blocklist sites and URLs that are
left out. Not here: its common-words rule (the list is not published with it), its classifier of pages, and its NSFW classifier (--max-nsfw asks open_nsfw).
"""

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.declared_size import DeclaredSize
from curate.filters.document_char_repetition import DocumentCharRepetition
from curate.filters.document_flagged_words import DocumentFlaggedWords
from curate.filters.document_image_set import DocumentImageSet
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_punctuation import DocumentPunctuation
from curate.filters.document_stop_words import DocumentStopWords
from curate.filters.document_symbols import DocumentSymbols
from curate.filters.document_texts import DocumentTexts
from curate.filters.document_word_repetition import DocumentWordRepetition
from curate.filters.document_words import DocumentWords
from curate.filters.image_side import ImageSide
from curate.filters.image_url_words import ImageUrlWords
from curate.filters.nsfw import Nsfw
from curate.filters.paragraph_char_repetition import ParagraphCharRepetition
from curate.filters.paragraph_flagged_words import ParagraphFlaggedWords
from curate.filters.paragraph_perplexity import ParagraphPerplexity
from curate.filters.paragraph_punctuation import ParagraphPunctuation
from curate.filters.paragraph_spam_words import ParagraphSpamWords
from curate.filters.paragraph_stop_words import ParagraphStopWords
from curate.filters.paragraph_symbols import ParagraphSymbols
from curate.filters.paragraph_word_repetition import ParagraphWordRepetition
from curate.filters.paragraph_words import ParagraphWords
from curate.filters.url_blocklist import UrlBlocklist
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source
from curate.stage import below

#: Substrings of URLs: build_obelics/04_merge_web_docs_with_images.py.
WORDS = ("logo", "button", "icon", "plugin", "widget", "porn", "xxx", "sex")


def recipe(
    source: Source,
    perplexity: str = "",
    blocklist: str = "",
    max_nsfw: float | None = None,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """perplexity: KenLM file or python:module:function (see filters.paragraph_perplexity); none: no rule.
    blocklist: file of domains and URLs whose images are left out, one a line; none: no rule.
    """
    unwanted = [UrlBlocklist(list=blocklist)] if blocklist else []
    surprising = [ParagraphPerplexity(model=perplexity, max=1500)] if perplexity else []
    unsafe = [Nsfw(max=max_nsfw, model=nsfw_model)] if max_nsfw is not None else []
    images = [*unwanted, DeclaredSize(min=150), ImageUrlWords(words=WORDS, whole=False)]
    paragraphs = [
        ParagraphWords(4, 1000),
        ParagraphSymbols(max=0.3),
        ParagraphPunctuation(min=0.001),
        ParagraphFlaggedWords(max=0.01),
        ParagraphStopWords(min=0.3),
        ParagraphCharRepetition(max=0.1),
        ParagraphWordRepetition(max=0.1),
        *surprising,
    ]
    documents = [
        DocumentImages(1, 30),
        DocumentWords(10, 2000),
        DocumentCharRepetition(max=0.1),
        DocumentWordRepetition(max=0.2),
        DocumentSymbols(max=0.275),
        DocumentFlaggedWords(max=0.01),
        DocumentPunctuation(min=0.03),
        DocumentStopWords(min=0.35),
        DocumentLanguage(among={"en"}, min=0.8, lower=True),
    ]
    pool = [
        Frequency(("url",), max=10),
        Frequency(("domain", "text"), max=2, name="paragraph_frequency", table="texts"),
        DocumentImageSet(),
        ExactDedup(("document_image_set",), by=("document_image_set_time",), name="same_images", table="documents"),
        ParagraphSpamWords(max=below(0.12)),
        DocumentImages(1, None, name="document_images_once"),
        DocumentTexts(min=1),
    ]
    pixels = [
        *once(Fetch()),
        Where(sql="mime in ('image/jpeg', 'image/png', 'image/webp')", name="image_format"),
        ImageSide(min=150),
        AspectRatio(max=2),
        Where(sql="greatest(original_width, original_height) <= 20000", name="image_longest"),
        *unsafe,
        ExactDedup(("doc_uid", "sha256"), name="repeated_image"),
        DocumentImages(1, 30, name="document_images_left"),
    ]
    return Recipe(source, [*images, *paragraphs, *documents, *pool, *pixels], shards=Shards(size=shard_size, seed=seed))
