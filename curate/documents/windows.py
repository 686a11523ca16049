"""Training windows: the pieces of documents that Flamingo and KOSMOS-1 train on. Special tokens are left to the exporters.

A window is a document's JSON again, with fewer places; images keep their member names, `image_info` follows.
"""

import re
from collections.abc import Callable
from typing import Any

from curate.selector import coin

_WORDS = re.compile(r"\s*\S+")


def words(text: str) -> list[str]:
    """A text in pieces that join to it again. A tokenizer's pieces do as well."""
    return _WORDS.findall(text)


def flamingo(
    document: dict[str, Any], tokens: int = 256, images: int = 5, seed: int = 0, pieces: Callable[[str], list[str]] = words
) -> dict[str, Any] | None:
    """A random window of `tokens` pieces with at most its first `images` images (arXiv 2204.14198: 256 tokens, 5 images).

    An image costs no piece. Where the window starts is a hash of uid and seed, among the starts that leave it full. None if
    there is no image in it. A page's text may stand before the image that it tells of, or after it: `text_looks` says to which
    images the texts of this window attend, "back" or "ahead", one as likely as the other (see `looked_at`).
    """
    split = [pieces(t) if t is not None else None for t in document["texts"]]
    total = sum(len(p) for p in split if p is not None)
    start = int(float(coin([document["uid"]], seed, "window")[0]) * (max(0, total - tokens) + 1))
    kept: list[tuple[int, str | None]] = []
    at = pictures = 0
    for place, part in enumerate(split):
        if part is None:
            if start <= at <= start + tokens and pictures < images:
                kept.append((place, None))
                pictures += 1
            continue
        inside = part[max(0, start - at) : max(0, start + tokens - at)]
        at += len(part)
        if inside:
            kept.append((place, document["texts"][place] if len(inside) == len(part) else "".join(inside).strip()))
    looks = "ahead" if coin([document["uid"]], seed, "looks")[0] < 0.5 else "back"
    return {**_window(document, kept), "text_looks": looks} if pictures else None


def looked_at(window: dict[str, Any]) -> list[int | None]:
    """For each place of a window the image (its number in reading order) that the text there attends to: the last one before it,
    or where `text_looks` is "ahead" the next one. None: there is none on that side; an image's own place has its own number."""
    ahead, count = window.get("text_looks") == "ahead", sum(n is not None for n in window["images"])
    found, seen = [], -1
    for name in window["images"]:
        seen += name is not None
        at = seen + 1 if ahead and name is None else seen
        found.append(at if 0 <= at < count else None)
    return found


def kosmos(document: dict[str, Any], images: int = 5, single: float = 0.5, seed: int = 0) -> dict[str, Any] | None:
    """The whole document with its first `images` images; of documents with one image only a share `single` is kept, the others
    are None (KOSMOS-1, arXiv 2302.14045: 5 images, half of the one-image pages)."""
    names = [n for n in document["images"] if n is not None]
    if not names or (len(names) == 1 and coin([document["uid"]], seed, "single")[0] >= single):
        return None
    allowed = set(names[:images])
    places = enumerate(zip(document["texts"], document["images"]))
    return _window(document, [(i, text) for i, (text, name) in places if name is None or name in allowed])


def _window(document: dict[str, Any], kept: list[tuple[int, str | None]]) -> dict[str, Any]:
    """The places of a document in `kept` (with their texts, perhaps cut), as a document."""
    places = [i for i, _ in kept]
    names = {document["images"][i] for i in places} - {None}
    # matched_text_index counts texts: renumber those that are still there
    order = [i for i, t in enumerate(document["texts"]) if t is not None]
    index = {order.index(i): k for k, i in enumerate(p for p in places if document["texts"][p] is not None)}
    info = [
        {
            **i,
            "matched_text_index": index.get(i["matched_text_index"]),
            "matched_sim": i["matched_sim"] if i["matched_text_index"] in index else None,
        }
        for i in document["image_info"]
        if i["image_name"] in names
    ]
    lists = {k: [document[k][i] for i in places] for k in ("images", "kinds", "positions") if k in document}
    return {**document, **lists, "texts": [t for _, t in kept], "image_info": info}
