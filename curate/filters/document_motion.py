"""Filter of clips by the mean change between frames."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters.document_children import DocumentFilter, gathered


@dataclass
class DocumentMotion(DocumentFilter):
    """The mean of `frame_change` over a clip's live frames, 0 to 1: how much grey changes from one to the next. Below 0.005 lie
    slides and still pictures, which Panda-70M's authors drop as well (2402.19479). A clip of one frame scores 0."""

    unit = "0 to 1"

    min: float | None = 0.005

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        found = [[v for v in values if v is not None] for values in gathered(live, images, "frame_change")]
        return [sum(v) / len(v) if v else 0.0 for v in found]
