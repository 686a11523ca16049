"""Words of a caption in any script."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ScriptWords(Filter):
    """Words in the caption; two characters count as one where a script has no spaces (Han, kana, Thai, ...).

    For Chinese captions, as CogView's, to which CaptionWords gives 1, however long they are: a Chinese word has about 1.6
    characters. Punctuation alone is no word.

    CogView (2105.13290) trains on such captions; the ratio of characters to words is ours.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "words"
    version = 3

    def score(self, live: pa.Table) -> list:
        return [None if t is None else len(paragraph_ratios.words(t)) for t in live["text"].to_pylist()]
