"""Aspect-ratio buckets: the training size of an image among others of its shape."""

import math
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from curate.errors import RecipeError
from curate.stage import Stage


@dataclass
class AspectBucket(Stage):
    """Adds `aspect_bucket`, such as `896x1152`: of the sizes (width x height) of about `side`² pixels the one whose shape is
    nearest. It drops nothing; a loader groups batches by it.

    Sides are multiples of `step`, the longer at most `limit` times `side`. Multi-aspect training as in SDXL (2307.01952): side
    1024, step 64, sides from 512 to 2048; its list of sizes differs from this rule's in a few.

    side: square root of the area of a size, in pixels. step: what sides are multiples of, in pixels. limit: longer side at most, in multiples of `side`.
    """

    reads = ("original_width", "original_height")

    side: int = 512
    step: int = 64
    limit: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        if self.step < 1 or self.side < self.step or self.limit < 1:
            raise RecipeError(f"{self.name}: step must be at least 1, side at least a step, limit at least 1")

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """All buckets, the narrowest first."""
        least, most = math.ceil(self.side / self.limit / self.step), int(self.side * self.limit / self.step)
        widths = [n * self.step for n in range(max(1, least), max(1, least, most) + 1)]
        found = {(w, min(max(widths), max(self.step, int(self.side**2 / w / self.step + 0.5) * self.step))) for w in widths}
        return sorted(found, key=lambda size: (size[0] / size[1], size))

    def run(self, live: pa.Table) -> pa.Table:
        sides = zip(*(live[c].to_pylist() for c in self.reads))
        return pa.table({self.name: pa.array([self.bucket(w, h) for w, h in sides], pa.large_string())})

    def bucket(self, width: int | None, height: int | None) -> str | None:
        """The bucket of one image; None without its size."""
        if not width or not height:
            return None
        w, h = min(self.sizes, key=lambda size: abs(math.log(width * size[1] / (height * size[0]))))
        return f"{w}x{h}"
