"""A label by the caption's hash, equal for captions of the same text."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from curate.dedup.text import normal
from curate.stage import Stage


@dataclass
class CaptionLabel(Stage):
    """Adds `caption_label`: 16 hex digits of the caption's hash, case, punctuation and white space aside. It drops nothing.

    Florence's image-label-description triples (UniCL, 2204.03610; Florence, 2111.11432): pictures with the same text share one
    label, and are positives of each other, where a contrastive loss over pairs would push them apart. A null caption has none.
    """

    version = 3
    reads = ("text",)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table) -> pa.Table:
        labels = [None if t is None else label(t) for t in live["text"].to_pylist()]
        return pa.table({self.name: pa.array(labels, pa.large_string())})


def label(text: str) -> str:
    """The label of one text."""
    return hashlib.md5(normal(text).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]
