"""COYO-700M (Kakao Brain 2022, https://github.com/kakaobrain/coyo-dataset): 747M English pairs by open rules.

Pictures: files of 5 kB and more, shorter side of 200 px and more, ratio up to 3, OpenNSFW2 and GantMan's classifier up to 0.5
(here one of them, --nsfw-model names another), not among the evaluation sets by perceptual hash (--evaluation
name=folder,...: theirs were ImageNet-1k and 21k, Flickr30k, COCO, CC3M and CC12M). Texts: English by cld3, here fastText;
more than 5 and up to 1,000 characters; 3 to 256 words; a noun; seen up to 10 times; no word of the lists of profanity
(--profanity; off without it). White space is squeezed first: rules, counts and shards take the text so. Pairs: each (perceptual
hash, text) once; the hash is ours. Published: 10B candidates; mean CLIP score 0.291
(B/32); ALIGN trained on it: ImageNet kNN 68.6 % (on ALIGN's own 1.8B: 69.3).
"""

from curate.dedup.evaluation import Decontaminate
from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.clean_caption import CleanCaption
from curate.filters.image_bytes import ImageBytes
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.filters.listed_words import ListedWords
from curate.filters.nsfw import Nsfw
from curate.filters.parts_of_speech import PartsOfSpeech
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    min_bytes: int = 5000,
    min_side: int = 200,
    max_ratio: float = 3.0,
    max_nsfw: float = 0.5,
    min_chars: int = 6,
    max_chars: int = 1000,
    min_words: int = 3,
    max_words: int = 256,
    max_repeats: int = 10,
    nouns: str = "",
    profanity: str = "",
    evaluation: dict[str, str] | None = None,
    nsfw_model: str = "",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """max_chars: characters that a text may have.
    max_repeats: rows that may share a text.
    evaluation: evaluation sets whose pictures must not be in the pool: name=folder or tar.
    """
    return Recipe(
        source=source,
        score=[
            CleanCaption(),
            CaptionChars(min=min_chars, max=max_chars).reading("chosen_text"),
            CaptionWords(min=min_words, max=max_words),
            Language(model=language_model),
            PartsOfSpeech(needs=("noun",), nouns=nouns),
            *([ListedWords(max=0, words=profanity, name="profanity")] if profanity else []),
            Frequency(("chosen_text",), max=max_repeats),
            Fetch(),
            ImageBytes(min=min_bytes),
            ImageSide(min=min_side),
            AspectRatio(max=max_ratio),
            Nsfw(max=max_nsfw, model=nsfw_model),
            PerceptualHash(),
        ],
        select=[ExactDedup(key=("phash", "chosen_text")), *([Decontaminate(evaluation)] if evaluation else [])],
        shards=Shards(size=shard_size, seed=seed),
    )
