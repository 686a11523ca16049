"""ActBERT (Zhu and Yang 2020, arXiv 2011.07231): clips of HowTo100M with what is said in them, and the objects to be seen.

HowTo100M (1906.03327) cuts 1.22 million narrated videos into 136 million clips, one a segment of the transcript, 4 seconds and 4 words
on average. ActBERT takes frames at one a second and regions of them by a detector, verbs out of the text as labels of actions.
Frames and text are here; boxes are a detector's to add (columns like those of `faces`). Words and clips that say nothing are left to
bounds of our own. Published, by accounts of the paper: clips of YouCook2 found by text, R@10 38.0 against 35.3 of the
HowTo100M model.
"""

from curate.filters.document_images import DocumentImages
from curate.filters.document_seconds import DocumentSeconds
from curate.filters.document_speech_rate import DocumentSpeechRate
from curate.filters.document_words import DocumentWords
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.sources.videos import clips
from curate.videos.frames import Frames


def recipe(
    source: Source,
    rate: float = 1.0,
    max_seconds: float = 30.0,
    min_words: int = 2,
    side: int = 256,
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """
    rate: frames kept a second
    max_seconds: seconds of the longest clip
    side: pixels to which the shorter side of a frame is reduced
    """
    return Recipe(
        clips(source, cut="speech", rate=rate, max_seconds=max_seconds),
        score=[
            DocumentSeconds(max=max_seconds),
            DocumentWords(min=min_words, max=None),
            DocumentSpeechRate(),
            Frames(side=side),
            DocumentImages(min=1, max=None),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
