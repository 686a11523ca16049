"""SBU captions (Ordonez et al., NIPS 2011, https://papers.nips.cc/paper/4470): Flickr captions that describe what is to be seen.

Two words and more of term lists of objects, attributes, actions, stuff and scenes (--terms: a file with a word a line; the
lists are not published as files), a preposition, and a length as visual descriptions have. The range of lengths here
(--min-words, --max-words) is ours. The paper asks for spatial prepositions; here any preposition of a closed list counts. One
photo a caption: exact copies are dropped. Published: 1M pairs of Flickr search results. Rules from descriptions of the paper; not
checked against its code.
"""

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.caption_words import CaptionWords
from curate.filters.language import Language
from curate.filters.listed_words import ListedWords
from curate.filters.parts_of_speech import PartsOfSpeech
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    terms: str,
    min_terms: int = 2,
    min_words: int = 4,
    max_words: int = 40,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """terms: file of words for things that can be seen, one a line; the paper's lists of objects, attributes, actions, stuff and
        scenes are not published.
    min_terms: such words that a text needs.
    """
    return Recipe(
        source=source,
        score=[
            CaptionWords(min=min_words, max=max_words),
            Language(model=language_model),
            ListedWords(min=min_terms, words=terms),
            PartsOfSpeech(needs=("preposition",)),
            Fetch(),
        ],
        select=[ExactDedup()],
        shards=Shards(size=shard_size, seed=seed),
    )
