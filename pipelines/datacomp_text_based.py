"""DataComp's text-based filter (Gadre et al. 2023, arXiv 2304.14108): English captions that name a thing of ImageNet-21k.

A word names it if the word's first WordNet synset is in the list. --synsets is the benchmark's list
`imagenet21k_wordnet_ids.txt`, --wordnet a folder with WordNet's files (Debian: wordnet-base). Published: ImageNet 4.6 / 25.5
/ 56.1 % at small / medium / large scale, with 3.2M / 31M / 317M of the samples.

Differs: English is told by the bundled lid.176.ftz; DataComp's .bin is --language-model.
"""

from curate.balance.text_based import TextBased
from curate.fetch.stage import Fetch
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    synsets: str,
    wordnet: str = "/usr/share/wordnet",
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """synsets: file of WordNet's numbers, one a line: the benchmark's imagenet21k_wordnet_ids.txt, or ls of ImageNet-21k's folders.
    wordnet: folder of WordNet's files (Debian: wordnet-base).
    """
    return Recipe(
        source=source,
        score=[Language(model=language_model, script_check=False), TextBased(synsets=synsets, wordnet=wordnet), Fetch()],
        shards=Shards(size=shard_size, seed=seed),
    )
