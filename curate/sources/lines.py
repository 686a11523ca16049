"""Readers of lists with one entry a line: any line ends, UTF-8 or any encoding with a byte order mark."""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import Any

from curate.errors import RecipeError
from curate.paths import filesystem

#: Byte order marks; the one of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENDS = re.compile(r"\r\n|\r|\n")
#: Invisible characters around an entry besides white space: byte order marks, zero-width and direction marks.
_UNSEEN = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_EDGES = re.compile(rf"^[\s{_UNSEEN}]+|[\s{_UNSEEN}]+$")

_BULLET = re.compile(r"(?:[-*•]|\d{1,7}[.)])\s+")
_PAIRS = {a: b for a, b in ('""', "''", "``", "<>", "[]", "()", "{}", "“”", "„“", "‘’", "«»", "‹›")}


def read_text(path: str) -> str:
    """The text of a file: in UTF-8 or the encoding of its byte order mark; decompressed by its name. RecipeError names the file, and
    the line that is not text."""
    try:
        fs, inner = filesystem(path)
        with fs.open(inner, "rb", compression="infer") as f:
            data = f.read()
    except (OSError, EOFError, ValueError, zlib.error) as e:
        raise RecipeError(f"{path}: {getattr(e, 'strerror', None) or f'cannot be read: {e}'}") from e
    encoding = marked(data)
    try:
        found = data.decode(encoding)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise RecipeError(f"{path}: line {line}: not {encoding.removesuffix('-sig').upper()}; save it as UTF-8") from e
    if 4 * found.count("\0") > len(found):
        raise RecipeError(f"{path}: full of NUL characters: no text, or UTF-16 that does not say so; save it as UTF-8")
    return found


def marked(data: bytes) -> str:
    """The encoding of the byte order mark at the start of a text; UTF-8 without one."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")


def lines(path: str) -> list[str]:
    """The lines of a file, without their ends; the n-th is line n + 1. RecipeError: see `read_text`."""
    found = _ENDS.split(read_text(path))
    return found[:-1] if not found[-1] else found


def text_lines(path: str) -> Iterator[str]:
    """The lines of a large text file, one at a time; in UTF-8 with invalid bytes replaced; decompressed by its name."""
    try:
        fs, inner = filesystem(path)
        file: Any = fs.open(inner, "rt", compression="infer", encoding="utf-8-sig", errors="replace")
        with file:
            yield from file
    except (OSError, EOFError, ValueError, zlib.error) as e:
        raise RecipeError(f"{path}: {getattr(e, 'strerror', None) or f'cannot be read: {e}'}") from e


def words(who: str, path: str) -> list[tuple[int, str, str]]:
    """(line number, word, text after a tab) of a list of words, one a line. RecipeError names the file and the line if the list has
    another format, or no words."""
    found = []
    for number, line in enumerate(lines(path), 1):
        word, _, rest = bare(line).partition("\t")
        if number == 1 and re.match(r'[\[{"]', word) and re.search(r'[\]}",:]\s*$', word):
            raise RecipeError(
                f"{who}: {path}: line 1: {word[:40]!r} is JSON or CSV; write one word a line, a count after a tab"
            )
        if not rest and re.search(r"[^\W\d_]\s*[,;]\s*\d+$", word):
            raise RecipeError(f"{who}: {path}: line {number}: {word[:40]!r}: between a word and its count is a tab")
        if word.strip():
            found.append((number, word.strip(), rest.strip()))
    if not found:
        raise RecipeError(f"{who}: {path}: no words in it")
    return found


def bare(entry: str) -> str:
    """An entry without white space and invisible characters around it."""
    return _EDGES.sub("", entry)


def unwrapped(entry: str) -> str:
    """A URL or a hash without quotes, brackets, a bullet or number before it, or a comma after it."""
    entry = bare(entry)
    while entry:
        if bullet := _BULLET.match(entry):
            inner = entry[bullet.end() :]
        elif entry[-1] in ",;":
            inner = entry[:-1]
        elif len(entry) > 1 and _PAIRS.get(entry[0]) == entry[-1]:
            inner = entry[1:-1]
        else:
            return entry
        entry = bare(inner)
    return entry
