"""CLIP similarity of an image and its own caption on the page."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters.clip_score import ClipScore
from curate.stage import Stage


@dataclass
class AltScore(Stage):
    """Adds `alt_score`: ClipScore's cosine of image and caption (figcaption, alt or title), -1 to 1, null without one. It drops
    nothing: on a page most images have no text of their own, and Align finds them one.

    As LAION (2210.08402) scores alt texts.
    """

    reads = ("clip_image", "clip_text")

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.float32()}

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table({self.name: ClipScore().score(live).cast(pa.float32())})
