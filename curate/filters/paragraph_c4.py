"""C4's rules for lines, applied to a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.stage import Filter

END = (".", "?", "!", '"')
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
#: Words that a line needs, and characters that a word may have.
WORDS, LENGTH = 5, 1000


@dataclass
class ParagraphC4(Filter):
    """How many of C4's rules for lines the paragraph breaks (Raffel et al. 2020, arXiv 1910.10683, section 2.2, in the version of its
    code in TensorFlow Datasets): it ends in `.`, `?`, `!` or `"` and not in an ellipsis, has five words and none of more than 1,000
    characters, and speaks of neither JavaScript nor cookies and terms of use. Lines end where paragraphs do here."""

    table = "texts"
    reads = ("text",)
    dtype = pa.int32()
    unit = "rules broken"
    max: float | None = 0

    def score(self, live: pa.Table) -> list:
        return [None if t is None else broken(t.strip()) for t in live["text"].to_pylist()]


def broken(line: str) -> int:
    words, plain = line.split(), line.lower()
    return sum(
        (
            not line.endswith(END) or line.endswith("..."),
            len(words) < WORDS or any(len(w) > LENGTH for w in words),
            "javascript" in plain,
            any(p in plain for p in POLICY),
        )
    )
