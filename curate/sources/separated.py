"""Tolerant parser of CSV and TSV records: quoted cells of any length and many lines, stray quotes."""

import csv
from collections import deque
from collections.abc import Iterator

#: Characters of a line, or of a record; a longer one is not read.
LONGEST_LINE = 16 << 20
#: Lines of a record; beyond that a quote counts as not closed, and only its own line is lost.
MOST_LINES = 100

#: A line with its end; None for one that is too long.
Lines = Iterator[str | None]


class Records:
    """The cells of each record, the header first; None for a record with another number of cells than the header.

    A quote begins a cell of several lines if it is closed before a separator or the end of a line, within MOST_LINES. Otherwise only
    its own line is lost; in TSV it is an ordinary character, since published lists (CC3M, CC12M) quote nothing, also if it could be
    closed but each of the lines is a record by itself. Blank lines are skipped.
    """

    def __init__(self, lines: Lines, tabs: bool):
        self.lines, self.tabs, self.width = lines, tabs, 0
        self.ahead: deque[str | None] = deque()  # lines that were looked at already
        csv.field_size_limit(LONGEST_LINE)

    def __iter__(self) -> Iterator[list[str] | None]:
        while (line := self._line()) != "":
            if line is not None and not line.strip("\r\n"):
                continue
            record = None if line is None else self._record(line)
            self.width = self.width or len(record or ())
            yield record if record and len(record) == self.width else None

    def _line(self) -> str | None:
        return self.ahead.popleft() if self.ahead else next(self.lines, "")

    def _record(self, line: str) -> list[str] | None:
        if '"' not in line:
            return line.rstrip("\r\n").split("\t" if self.tabs else ",")
        taken: list[str | None] = []
        closed = True

        def feed() -> Iterator[str]:
            """The lines that the parser asks for: it wants another one while a quote is open."""
            nonlocal closed
            yield line
            size = len(line)
            while len(taken) < MOST_LINES - 1 and size <= LONGEST_LINE and (more := self._line()) != "":
                taken.append(more)
                if more is None:
                    break
                size += len(more)
                yield more
            closed = False

        try:
            found = next(csv.reader(feed(), delimiter="\t" if self.tabs else ",", strict=self.tabs), None)
        except csv.Error:
            found = None
        if closed and found is not None and not (self.tabs and taken and all(map(self._whole, [line, *taken]))):
            return found
        self.ahead.extendleft(reversed(taken))
        return _unquoted(line) if self.tabs else None

    def _whole(self, line: str | None) -> bool:
        """Whether a line is a record where quotes are characters."""
        return line is not None and len(_unquoted(line)) == self.width


def _unquoted(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")
