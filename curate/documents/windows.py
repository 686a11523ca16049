"""Training windows of documents, as Flamingo and KOSMOS-1 sample them. Special tokens are added by the exporters.

A window is a document's JSON with fewer items; images keep their member names, and `image_info` lists those that remain.
"""

import re
from collections.abc import Callable
from typing import Any

from curate.selector import coin

_WORDS = re.compile(r"\s*\S+")


def words(text: str) -> list[str]:
    """The words of a text, each with the white space before it: a stand-in for a tokenizer, whose tokens join to the text again."""
    return _WORDS.findall(text)


def flamingo(
    document: dict[str, Any], tokens: int = 256, images: int = 5, seed: int = 0, tokenize: Callable[[str], list[str]] = words
) -> dict[str, Any] | None:
    """A random window of `tokens` tokens with at most its first `images` images (arXiv 2204.14198: 256 tokens, 5 images); None if it
    contains no image.

    An image costs no token. The start is drawn by a hash of uid and seed among those that leave the window full. A page's text may
    describe the image after it or before it: `text_looks` says to which image the texts of this window attend, "back" or "ahead",
    with equal probability (see `attended_images`). tokenize: splits a text into tokens.
    """
    split = [tokenize(t) if t is not None else None for t in document["texts"]]
    total = sum(len(p) for p in split if p is not None)
    start = int(float(coin([document["uid"]], seed, "window")[0]) * (max(0, total - tokens) + 1))
    kept: list[tuple[int, str | None]] = []
    at = pictures = 0
    for index, part in enumerate(split):
        if part is None:
            if start <= at <= start + tokens and pictures < images:
                kept.append((index, None))
                pictures += 1
            continue
        inside = part[max(0, start - at) : max(0, start + tokens - at)]
        at += len(part)
        if inside:
            kept.append((index, document["texts"][index] if len(inside) == len(part) else "".join(inside).strip()))
    looks = "ahead" if coin([document["uid"]], seed, "looks")[0] < 0.5 else "back"
    return {**_window(document, kept), "text_looks": looks} if pictures else None


def attended_images(window: dict[str, Any]) -> list[int | None]:
    """For each item of a window the image (its number in reading order) that the text attends to: the last one before it, or the next
    one where `text_looks` is "ahead". None if there is no image on that side; an image has its own number."""
    ahead, count = window.get("text_looks") == "ahead", sum(n is not None for n in window["images"])
    found, seen = [], -1
    for name in window["images"]:
        seen += name is not None
        at = seen + 1 if ahead and name is None else seen
        found.append(at if 0 <= at < count else None)
    return found


def kosmos(document: dict[str, Any], images: int = 5, single: float = 0.5, seed: int = 0) -> dict[str, Any] | None:
    """The whole document with its first `images` images (KOSMOS-1, arXiv 2302.14045: 5 images, half of the one-image pages). None for
    a document without images, and for all but a share `single` of those with one image."""
    names = [n for n in document["images"] if n is not None]
    if not names or (len(names) == 1 and coin([document["uid"]], seed, "single")[0] >= single):
        return None
    allowed = set(names[:images])
    items = enumerate(zip(document["texts"], document["images"]))
    return _window(document, [(i, text) for i, (text, name) in items if name is None or name in allowed])


def _window(document: dict[str, Any], kept: list[tuple[int, str | None]]) -> dict[str, Any]:
    """A document with only the items in `kept`: their indices, and their texts, which may be cut."""
    indices = [i for i, _ in kept]
    names = {document["images"][i] for i in indices} - {None}
    # matched_text_index counts texts: renumber those that remain
    order = [i for i, t in enumerate(document["texts"]) if t is not None]
    index = {order.index(i): k for k, i in enumerate(p for p in indices if document["texts"][p] is not None)}
    info = [
        {
            **i,
            "matched_text_index": index.get(i["matched_text_index"]),
            "matched_sim": i["matched_sim"] if i["matched_text_index"] in index else None,
        }
        for i in document["image_info"]
        if i["image_name"] in names
    ]
    lists = {k: [document[k][i] for i in indices] for k in ("images", "kinds", "positions") if k in document}
    return {**document, **lists, "texts": [t for _, t in kept], "image_info": info}
