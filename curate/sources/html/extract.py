"""Extraction of a page: from its bytes to plain rows of texts and images, in the contained parser."""

import re
from typing import Any

from curate.sources.html import charset, walk
from curate.sources.html.page import Image, Page, Text

#: Fields of a row, in the order of the tuples that `extract` returns.
TEXT = ("position", "text", "kind", "level", "lang", "dom_path", "link_share", "drop_reason")
IMAGE = (
    "position",
    "url",
    "text",
    "alt",
    "title",
    "figcaption",
    "declared_width",
    "declared_height",
    "origin",
    "link",
    "candidates",
    "lang",
    "dom_path",
    "declared_licence",
    "declared_attribution",
    "drop_reason",
)

#: Characters of all images' rows of a page: a long `base` is in every URL. Fewer images than MANY cannot have as many.
UNFOLDED, MANY = 64 << 20, 1000

#: Directives that forbid use of the page, or of its images, for machine learning (DeviantArt's noai; TDMRep; img2dataset).
NO_PAGE, NO_IMAGES = {"noai", "tdm-reservation"}, {"noimageai", "noimageindex"}

_FILE_NAME = re.compile(
    r"\S+\.(?:jpe?g|png|gif|webp|svg|bmp|tiff?|avif)|(?:img|image|dsc|dscn|pict|screenshot)?[\s_.-]*\d*", re.IGNORECASE
)


def extract(body: bytes, declared: str | None, url: str, robots: list[str], honor_opt_out: bool) -> dict[str, Any]:
    """A page's title, language, charset, outcome (None if it went well), texts and images."""
    text, name = charset.decode(body, declared, url)
    try:
        page = walk.parse(text, url)
        # A declaration behind the bytes of the prescan: browsers begin again for it.
        if page.charset not in (None, name) and charset.stated(body, declared) is None:
            name = page.charset
            page = walk.parse(charset.read(body, name), url)
    except walk.TooManyNodes:
        return {"outcome": "too_many_nodes", "charset": name}
    if name == "replacement":
        return {"outcome": "bad_encoding", "charset": name}
    page.robots |= set(robots)
    head = {"title": page.title or _heading(page), "lang": page.lang, "charset": name, "licence": page.licence, "outcome": None}
    if honor_opt_out and page.robots & NO_PAGE:
        return {**head, "outcome": "opt_out"}
    if honor_opt_out and page.robots & NO_IMAGES:
        for item in page.items:
            if isinstance(item, Image):
                item.reason = item.reason or "opt_out"
    images = [_image(i, t, page) for i, t in enumerate(page.items) if isinstance(t, Image)]
    if len(images) > MANY and sum(map(_size, images)) > UNFOLDED:
        return {**head, "outcome": "too_large"}
    return {**head, "texts": [_text(i, t) for i, t in enumerate(page.items) if isinstance(t, Text)], "images": images}


def _heading(page: Page) -> str | None:
    return next((i.text for i in page.items if isinstance(i, Text) and i.kind == "heading" and i.level == 1), None)


def _text(position: int, item: Text) -> tuple:
    reason = f"boilerplate:{item.marks[0].reason}" if item.marks else None
    return position, item.text, item.kind, item.level, item.lang, item.dom_path, item.link_share, reason


def _image(position: int, item: Image, page: Page) -> tuple:
    reason = f"image:{item.reason}" if item.reason else f"boilerplate:{item.marks[0].reason}" if item.marks else None
    caption = item.figure.caption if item.figure else None
    url, urls = (item.urls[0], item.urls) if item.urls else (None, [])
    return (
        position,
        url,
        best_text(caption, item.alt, item.title),
        item.alt,
        item.title,
        caption,
        item.width,
        item.height,
        item.origin,
        item.link,
        urls,
        item.lang,
        item.dom_path,
        *_credit(urls, page),
        reason,
    )


def _credit(urls: list[str], page: Page) -> tuple[str | None, str | None]:
    """Licence and attribution stated for a picture; without its own licence that of the page."""
    licence, name = next((page.credits[u] for u in urls if u in page.credits), (None, None))
    return licence or page.licence, name


def _size(row: tuple) -> int:
    """Characters in a row, and in lists in it."""
    return sum(sum(map(len, v)) if isinstance(v, list) else len(v) for v in row if isinstance(v, (str, list)))


def best_text(caption: str | None, alt: str | None, title: str | None) -> str | None:
    """The text to pair an image with: its caption, else alt, else title; file names and numbers are ignored."""
    return next((t for t in (caption, alt, title) if t and not _FILE_NAME.fullmatch(t)), None)
