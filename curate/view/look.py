"""Values and tables as people read them in a terminal: digits, units, and text from outside that cannot steer it."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # the wide signs are taken for the others in Asian locales


def clean(text: str) -> str:
    """Text from outside, safe for a terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def inert(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula, also behind blanks, and in which nothing is invisible."""
    shown = clean(text)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def plain(head: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 160, numbers: Iterable[int] = ()) -> str:
    """A table for a terminal. Cells longer than their share of the width are cut, control characters are shown."""
    right = set(numbers)
    cells = [[clean(number(c, 6)).replace("\n", " ") for c in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    while sum(widths) + 2 * len(widths) > width and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    cut = [[c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(row, widths)] for row in cells]
    lines = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in cut
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def wide(text: str, width: int) -> bool:
    """Whether a line is longer than the terminal is wide."""
    return max(map(len, text.splitlines())) > width


def vertical(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows for a terminal, a line a column; control characters are shown, and values are cut after 1,000 characters."""
    names = [clean(h).replace("\n", " ") for h in head]
    side = max(map(len, names))
    blocks = []
    for n, row in enumerate(rows, 1):
        cells = [clean(number(c, 6)).replace("\n", " ") for c in row]
        lines = [f"{name:<{side}}  {c if len(c) <= 1000 else c[:999] + '…'}".rstrip() for name, c in zip(names, cells)]
        blocks.append("\n".join([*([f"── row {n}"] if len(rows) > 1 else []), *lines]))
    return "\n".join(blocks)


def number(value: Any, digits: int = 3) -> str:
    """A value as people read it: so many digits of a fraction, thousands apart."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (1000 <= abs(value) < 1e15) or (value.is_integer() and abs(value) < 1e15):
        return f"{round(value):,}"
    return f"{value:.{digits}g}" if math.isfinite(value) else str(value)


def size(count: float) -> str:
    """Bytes in units of a thousand: 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""
