"""Licences in a page's JSON-LD: schema.org's `license`, `creditText`, `creator` of the page and of its pictures."""

import json
from collections.abc import Iterator
from typing import Any

#: Characters of a script that is read, objects in it, and characters of a value.
_LONGEST, _MOST, _VALUE = 1 << 18, 1000, 2000

#: Licence and name, as stated.
Credit = tuple[str | None, str | None]


def credits(script: str) -> tuple[str | None, dict[str, Credit]]:
    """The licence of the page, and by URL those of its pictures; empty if the script is not JSON."""
    try:
        data = json.loads(script) if len(script) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None, {}
    page, found = None, {}
    for each in _objects(data):
        credit = _text(each.get("license"), "url", "@id"), _text(each.get("creditText")) or _text(each.get("creator"), "name")
        if each.get("@type") in ("ImageObject", ["ImageObject"]):
            urls = [_text(each.get(n)) for n in ("contentUrl", "url")]
            found |= {url: credit for url in urls if url and any(credit)}
        else:
            page = page or credit[0]
    return page, found


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    """The objects at any depth, the outermost first."""
    waiting, count = [data], 0
    while waiting and count < _MOST:
        each = waiting.pop(0)
        if isinstance(each, dict):
            count += 1
            yield each
            waiting += [v for v in each.values() if isinstance(v, (dict, list))]
        elif isinstance(each, list):
            waiting += [v for v in each[:_MOST] if isinstance(v, (dict, list))]


def _text(value: Any, *fields: str) -> str | None:
    """A text, or that of the first of an object's fields that is there, or of a list's first element."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = next((value[f] for f in fields if isinstance(value.get(f), str)), None)
    return value.strip()[:_VALUE] or None if isinstance(value, str) else None
