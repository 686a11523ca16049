"""Conceptual Captions (Sharma et al., ACL 2018, https://aclanthology.org/P18-1238): alt texts like captions.

As published: JPEG, both sides over 400 px, ratio up to 2; noun, determiner and preposition; first word capitalised, not too
many capitals; little repetition; every word seen 5 times in English Wikipedia (--vocabulary: a word and its count a line); no
boilerplate; no pornography. Open equivalents: word lists stand in for the tagger (--nouns: WordNet's index.noun), open_nsfw for
the picture classifier, and a CLIP score for "one of the picture's 5 to 20 labels is in the text" (--min-clip, ours). The bounds
of capitals and of repetition are ours, CC12M's; so is the measure of repetition. English by fastText is ours too. --profanity
names a list of unwanted words. Boilerplate at the ends of a text is cropped first, and white space squeezed; a text that is
still half boilerplate is dropped (ours). Not covered: noun ratio and sentiment (bounds unpublished), hypernyms for names. Published:
5B pictures to 3.3M pairs; picture rules drop 65 %, text rules leave 3 %, matching drops 60 %; raters call more than 90 % good.
"""

from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.boilerplate_text import BoilerplateText
from curate.filters.caption_capitals import CaptionCapitals
from curate.filters.caption_repetition import CaptionRepetition
from curate.filters.clean_caption import CleanCaption
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.filters.listed_words import ListedWords
from curate.filters.nsfw import Nsfw
from curate.filters.parts_of_speech import PartsOfSpeech
from curate.filters.rare_tokens import RareTokens
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    vocabulary: str,
    model: str = "ViT-B-32:openai",
    min_clip: float = 0.2,
    min_side: int = 401,
    max_ratio: float = 2.0,
    max_capitals: float = 0.5,
    max_repetition: float = 0.2,
    rare: int = 5,
    nouns: str = "",
    profanity: str = "",
    max_nsfw: float = 0.5,
    nsfw_model: str = "",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """rare: times that a word must have been seen in the vocabulary's corpus.
    max_capitals: share of the words in capitals that a text may have.
    """
    rules = [
        Language(model=language_model),
        PartsOfSpeech(needs=("noun", "determiner", "preposition"), nouns=nouns),
        CaptionCapitals(max=max_capitals),
        CaptionRepetition(max=max_repetition),
        BoilerplateText(),
        RareTokens(vocabulary=vocabulary, count=rare),
        *([ListedWords(max=0, words=profanity, name="profanity")] if profanity else []),
    ]
    return Recipe(
        source=source,
        score=[
            CleanCaption(crop=True),
            *(rule.reading("chosen_text") for rule in rules),
            Fetch(),
            ImageSide(min=min_side),
            AspectRatio(max=max_ratio),
            Nsfw(max=max_nsfw, model=nsfw_model),
            ClipEmbed(model=model).reading("chosen_text"),
            ClipScore(),
        ],
        select=[Where(sql="mime = 'image/jpeg'", name="jpeg"), Where("clip_score", min=min_clip)],
        shards=Shards(size=shard_size, seed=seed),
    )
