"""CC12M (Changpinyo et al. 2021, arXiv 2102.08981): Conceptual Captions with looser rules, for four times as many pairs.

As published: JPEG, both sides over 400 px, ratio up to 2.5; 3 to 256 words; noun and determiner (a preposition no longer);
repetition up to 0.2; every word seen 20 times in English Wikipedia (--vocabulary: a word and its count a line); nothing about
capitals; no hypernyms. Open equivalents as in cc3m: word lists for the tagger, open_nsfw, and a CLIP score (--min-clip, ours)
where text must name one of the picture's labels. English by fastText, the measure of repetition and the bound of boilerplate are ours;
boilerplate at the ends is cropped first. Not covered: names of people replaced by a placeholder. Published: 12.4M
pairs; a CLIP of 5M of them has 27.8 % of ImageNet, of RedCaps 26.8, of YFCC15M 22.6.
"""

from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.boilerplate_text import BoilerplateText
from curate.filters.caption_repetition import CaptionRepetition
from curate.filters.caption_words import CaptionWords
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
    max_ratio: float = 2.5,
    min_words: int = 3,
    max_words: int = 256,
    max_repetition: float = 0.2,
    rare: int = 20,
    nouns: str = "",
    profanity: str = "",
    max_nsfw: float = 0.5,
    nsfw_model: str = "",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """rare: times that a word must have been seen in the vocabulary's corpus."""
    rules = [
        Language(model=language_model),
        CaptionWords(min=min_words, max=max_words),
        PartsOfSpeech(needs=("noun", "determiner"), nouns=nouns),
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
