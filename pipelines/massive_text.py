"""MassiveText's rules for text alone (Gopher, Rae et al. 2021, arXiv 2112.11446, appendix A.1): the corpora beside pictures.

KOSMOS-1 (2302.14045) mixes text corpora with pairs and interleaved pages. One language; 50 to 100,000 words; words of 3 to 10
characters, four in five with a letter; bullets, ellipses and hashes; two of eight frequent words; repeated lines and phrases; documents
that are the same, or whose pieces have a Jaccard similarity of 0.8. Published: 2.35 billion documents, 10.5 TB. Text files and tables of
documents come with --corpus. `curate export --format kosmos --tokenizer FILE` packs the documents into sequences of ids, and `curate blend`
writes the weights of this run beside those of pairs and pages.

Differs: repetition is measured as OBELICS does it (2306.16527) and not by the share of each length of n-grams; MinHash over characters, not
words.
"""

from curate.dedup.exact import ExactDedup
from curate.dedup.text import TextDedup
from curate.filters.document_char_repetition import DocumentCharRepetition
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_massive_text import DocumentMassiveText
from curate.filters.document_text import DocumentText
from curate.filters.document_word_repetition import DocumentWordRepetition
from curate.filters.document_words import DocumentWords
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    languages: frozenset[str] = frozenset({"en"}),
    near_text: float = 0.8,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """languages: what documents may be in, ISO 639-1; empty: any.
    near_text: Jaccard similarity from which on documents are duplicates.
    """
    return Recipe(
        source=source,
        score=[
            DocumentLanguage(among=languages, min=0.65),
            DocumentWords(50, 100_000),
            DocumentMassiveText(),
            DocumentCharRepetition(max=0.1),
            DocumentWordRepetition(max=0.2),
            DocumentText(),
        ],
        select=[
            ExactDedup(("document_text",), table="documents"),
            TextDedup("document_text", min=near_text, table="documents"),
        ],
        shards=Shards(size=shard_size, seed=seed, without=("document_text",)),
    )
