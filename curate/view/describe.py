"""Short texts that describe a row: its caption, why it has no picture, its outcome, its size."""

from typing import Any

from curate.view.samples import QUIET


def words(row: dict[str, Any]) -> str:
    """The caption, of a document its title; blanks that would not be seen are named."""
    text = row.get("text", row.get("title"))
    return "no text" if text is None else text if text.strip() else f"{len(text)} blank character{'s' * (len(text) != 1)}"


def tail(url: str) -> str:
    """The end of an address, which says more than its beginning."""
    return url.rstrip("/").rsplit("/", 1)[-1] or url


def kept_words(row: dict[str, Any]) -> str:
    kept = f"kept in the earlier release {row['release']}" if row.get("release") else "kept"
    return kept if row.get("shard") is None else f"{kept} · shard {row['shard']}"


def missing(row: dict[str, Any]) -> str:
    """Why there is no picture."""
    fetch = row.get("fetch") or row.get("frames")
    return "not fetched" if fetch is None else f"no image ({fetch})" if fetch != "ok" else "cannot be decoded"


def dimensions(row: dict[str, Any]) -> str:
    return f"{row['original_width']} × {row['original_height']} {row.get('mime') or ''}" if row.get("original_width") else ""


def scored(name: str, value: Any) -> bool:
    """True for a value that a card shows among the scores."""
    return name not in QUIET and value is not None and not isinstance(value, (list, dict, bytes))
