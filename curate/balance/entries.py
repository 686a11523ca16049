"""Lists of entries (MetaCLIP's metadata): read from files, or built from a reference text."""

import hashlib
import json
import re
from collections.abc import Iterable

from curate.balance.matcher import spacing
from curate.balance.vocabulary import associated
from curate.errors import RecipeError
from curate.sources.lines import bare, lines, read_text


def read_entries(source: str | list[str]) -> list[str]:
    """The distinct entries of a list or a file, in order, without blank ones and those with a NUL.

    A file holds a JSON list (as MetaCLIP publishes it), a JSON object whose keys are the entries (as it publishes counts), or one
    entry a line. RecipeError names the file, and the line that cannot be read.
    """
    entries = list(source) if isinstance(source, (list, tuple)) else _read_file(source)
    if wrong := next((n for n, e in enumerate(entries, 1) if not isinstance(e, str)), 0):
        raise RecipeError(f"entries: {source}: not a list of strings: the {wrong}. is {str(entries[wrong - 1])[:40]}")
    if isinstance(source, str) and not any(e.strip() for e in entries):
        raise RecipeError(f"entries: {source}: no entries in it")
    return [e for e in dict.fromkeys(entries) if e.strip() and "\0" not in e]


def _read_file(file: str) -> list[str]:
    whole = read_text(file).lstrip()
    if whole[:1] not in ("[", "{"):
        return _read_lines(file)
    try:
        found = json.loads(whole)
    except ValueError as e:
        raise RecipeError(f"entries: {file}: begins like JSON, and is none: {e}") from e
    if isinstance(found, dict) and not all(isinstance(n, (int, float)) for n in found.values()):
        raise RecipeError(f"entries: {file}: a JSON object, but not one of entries and their counts")
    if not isinstance(found, (list, dict)):
        raise RecipeError(f"entries: {file}: JSON, but no list")
    return list(found)


def _read_lines(file: str) -> list[str]:
    """The entries of a file with one entry a line, or one JSON string a line."""
    found = [bare(line) for line in lines(file)]
    if all(re.fullmatch(r'".*"', line) for line in found if line):
        try:
            found = [json.loads(line) for line in found if line]
        except ValueError:
            return found  # quotes are part of them
    return found


def entries_hash(entries: list[str]) -> str:
    """12 hex digits of the SHA-256 of the entries, one a line."""
    return hashlib.sha256("\n".join(entries).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def ngram_entries(texts: Iterable[str | None], min_count: int = 100, min_pmi: float = 10.0) -> list[str]:
    """The words of a reference text that occur `min_count` times or more, and its word pairs of high pointwise mutual information.

    CLIP's and MetaCLIP's lists were made so from the English Wikipedia, with 100 and bounds of their own on the pairs. The score
    of a pair is log2(p(ab) / (p(a) p(b))), in bits. Sorted: words, then pairs.
    """
    return associated(texts, lambda text: spacing(text).split(), min_count, min_pmi)
