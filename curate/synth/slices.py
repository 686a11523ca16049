"""Grids in which a picture of high resolution is cut for an encoder of a fixed size, and where each slice is."""

import math
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import RecipeError
from curate.stage import Stage

#: A slice: its row and column in the grid, from 0, and its edges as shares of the picture's width and height. Beyond 1 there is white.
SLICE = pa.struct(
    [
        ("row", pa.int16()),
        ("column", pa.int16()),
        *((edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1")),
    ]
)


@dataclass
class Slices(Stage):
    """Adds `slices`, the slices of the picture in reading order, with their places; none where the encoder's size does for the whole.
    The shards keep the picture as it is: `curate export --format slices` cuts it, with the whole picture beside.

    mode: `uhd`, LLaVA-UHD (2403.11703): about as many slices as the encoder's size is contained in the picture, in the grid whose
        slices are most like the encoder in shape; `4khd`, InternLM-XComposer2-4KHD (2404.06512): the picture is scaled to as many columns of
        `side` as give at most `most` slices, and padded with white at the bottom (the released code pads above too, and lays a tall
        picture on its side first).
    side: of the encoder's square, in pixels. most: slices (LLaVA-UHD: 6; 4KHD: up to 55).
    """

    reads = ("width", "height")

    mode: str = "uhd"
    side: int = 336
    most: int = 6

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in GRIDS or self.side < 1 or self.most < 1:
            raise RecipeError(f"{self.name}: mode is one of {', '.join(GRIDS)}, side and most are 1 or more")

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(SLICE)}

    def run(self, live: pa.Table) -> pa.Table:
        sizes = zip(live["width"].to_pylist(), live["height"].to_pylist())
        found = [None if w is None or h is None else self.cut(w, h) for w, h in sizes]
        return pa.table({self.name: pa.array(found, pa.list_(SLICE))})

    def cut(self, width: int, height: int) -> list[dict]:
        """The slices of a picture of this size."""
        columns, rows, bottom = GRIDS[self.mode](width, height, self.side, self.most)
        if columns * rows == 1:
            return []
        return [
            {
                "row": r,
                "column": c,
                "x0": c / columns,
                "x1": (c + 1) / columns,
                "y0": r * bottom / rows,
                "y1": (r + 1) * bottom / rows,
            }
            for r in range(rows)
            for c in range(columns)
        ]


def uhd(width: int, height: int, side: int, most: int) -> tuple[int, int, float]:
    """LLaVA-UHD's columns and rows, and 1.0: the grid ends where the picture does."""
    ideal = min(math.ceil(width * height / side**2), most)
    if ideal <= 1:
        return 1, 1, 1.0
    counts = [n for n in (ideal - 1, ideal, ideal + 1) if 1 < n <= most]
    grids = [(c, n // c) for n in counts for c in range(1, n + 1) if n % c == 0]
    columns, rows = min(grids, key=lambda g: (abs(math.log(width * g[1] / (height * g[0]))), abs(g[0] * g[1] - ideal), g))
    return columns, rows, 1.0


def hd(width: int, height: int, side: int, most: int) -> tuple[int, int, float]:
    """4KHD's columns and rows, and where the last row ends, as a share of the picture's height."""
    fitting = [c for c in range(1, most + 1) if c * math.ceil(c * height / width) <= most]
    columns = fitting[-1] if fitting else 1
    rows = min(math.ceil(columns * height / width), most)
    return columns, rows, max(1.0, rows * width / (columns * height))


GRIDS = {"uhd": uhd, "4khd": hd}
