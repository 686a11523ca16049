"""The whole job for web pages: interleaved documents of text and images, by the rules that the literature found best.

paragraphs  OBELICS' rules (arXiv 2306.16527): 4 to 1,000 words, repetition, special characters, stop words, flagged words, punctuation
pages       language by fastText (0.65: MINT-1T, 2406.11271), 1 to 30 images, 10 to 2,000 words, OBELICS' bounds for pages
duplicates  paragraphs that a site repeats, pages with the same images (OBELICS), near-duplicate pages by MinHash at 0.8 (OmniCorpus,
            2406.08418), images twice in a page or in more than ten pages (mmc4, 2304.06939); each URL is fetched once
images      150 pixels, at most 2:1, no logos and buttons (OBELICS); open_nsfw at most 0.5
alignment   CLIP cosine of 0.15 with the best paragraph, then mmc4's assignment of images to paragraphs
evaluation  images of the sets that --evaluation names
balance     at most 1,000 pages of a site, those with the most images

The default is the bundled CLIP, which needs no network; mmc4's bound of 0.15 was set for --model ViT-L-14:openai. Lists of stop words and
flagged words are English: for other --languages leave those steps out with --skip. Ours: the cap on a site.
"""

from curate import (
    Align, AspectRatio, Caps, ClipEmbed, ClipText, DeclaredSize, Decontaminate, DocumentCharRepetition, DocumentFlaggedWords, DocumentImages,
    DocumentImageSet, DocumentLanguage, DocumentPunctuation, DocumentStopWords, DocumentSymbols, DocumentText, DocumentTexts,
    DocumentWordRepetition, DocumentWords, ExactDedup, Fetch, Frequency, ImageSide, ImageUrlWords, Nsfw, ParagraphCharRepetition,
    ParagraphFlaggedWords, ParagraphPunctuation, ParagraphStopWords, ParagraphSymbols, ParagraphWordRepetition, ParagraphWords,
    PerceptualHash, Recipe, Shards, Source, TextDedup, once,
)  # fmt: skip

#: Substrings of the URLs of decoration: OBELICS' released code.
WORDS = ("logo", "button", "icon", "plugin", "widget", "porn", "xxx", "sex")


def recipe(
    source: Source,
    model: str = "small",
    languages: frozenset[str] = frozenset({"en"}),
    near_text: float = 0.8,
    min_align: float = 0.15,
    evaluation: dict[str, str] | None = None,
    of_site: int = 1_000,
    max_nsfw: float = 0.5,
    nsfw_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """languages: what pages may be in, ISO 639-1; empty: any.
    near_text: Jaccard similarity from which on pages are duplicates.
    min_align: CLIP cosine that an image needs with one of the page's paragraphs.
    evaluation: evaluation sets whose images must not be in the pool: name=folder, tar or .npy.
    of_site: pages of a site at most.
    """
    paragraphs = [
        ParagraphWords(4, 1000),
        ParagraphSymbols(max=0.3),
        ParagraphPunctuation(min=0.001),
        ParagraphFlaggedWords(max=0.01),
        ParagraphStopWords(min=0.3),
        ParagraphCharRepetition(max=0.1),
        ParagraphWordRepetition(max=0.1),
    ]
    pages = [
        DocumentLanguage(among=languages, min=0.65),
        DocumentImages(1, 30),
        DocumentWords(10, 2000),
        DocumentCharRepetition(max=0.1),
        DocumentWordRepetition(max=0.2),
        DocumentSymbols(max=0.275),
        DocumentFlaggedWords(max=0.01),
        DocumentPunctuation(min=0.03),
        DocumentStopWords(min=0.35),
    ]
    duplicates = [
        Frequency(("url",), max=10),
        Frequency(("domain", "text"), max=2, name="paragraph_frequency", table="texts"),
        DocumentImageSet(),
        ExactDedup(("document_image_set",), by=("document_image_set_time",), name="same_images", table="documents"),
        DocumentText(),
        TextDedup("document_text", min=near_text, table="documents"),
        DocumentImages(1, None, name="document_images_once"),
        DocumentTexts(min=1),
    ]
    images = [
        *once(Fetch()),
        ImageSide(min=150),
        AspectRatio(max=2.0),
        Nsfw(max=max_nsfw, model=nsfw_model),
        ExactDedup(("doc_uid", "sha256"), name="repeated_image"),
        Frequency(("sha256",), max=10, name="image_frequency"),
        *([PerceptualHash(), Decontaminate(evaluation)] if evaluation else []),
        ClipText(model=model),
        ClipEmbed(model=model),
        Align(mode="max", model=model, min=min_align, name="best_text"),
        Align(mode="assign", model=model),
        DocumentImages(1, 30, name="document_images_left"),
    ]
    return Recipe(
        source=source,
        score=[DeclaredSize(min=150), ImageUrlWords(words=WORDS, whole=False), *paragraphs, *pages, *duplicates, *images],
        select=[Caps(("host(url)",), max=of_site, by=("document_images_left",), table="documents")],
        shards=Shards(size=shard_size, seed=seed, without=("document_text",)),
    )
