"""An image of a page: its declared size and texts, and its twin in `noscript`."""

import re
from collections.abc import Mapping

from curate.sources.html import image_urls
from curate.sources.html.page import Figure, Image, Mark

#: Pixels up to which an image inside a line is an icon and does not split the paragraph.
ICON = 32
#: Characters of an alt or title kept.
MAX_TEXT = 4000

_SYMBOL = re.compile(r"latex|mathjax|/math/|tex\.cgi|emoji|smil(?:ey|ies)", re.IGNORECASE)
_ICON = re.compile(r"(?:^|/)icons?/|[_-](?:16|20|22|24|32)(?:x\d\d)?(?:px)?\.(?:png|gif|svg|webp)$", re.IGNORECASE)
_STYLE = {side: re.compile(rf"(?:^|[;\s]){side}\s*:\s*(\d+)(?:\.\d+)?px", re.IGNORECASE) for side in ("width", "height")}


def made(
    urls: list[str],
    origin: str,
    attributes: Mapping[str, str | None],
    link: str | None,
    lang: str | None,
    path: str,
    marks: tuple[Mark, ...],
    figure: Figure | None,
) -> Image:
    """An image from an element's attributes. One declared as a single pixel is a tracker."""
    width, height = declared(attributes, "width"), declared(attributes, "height")
    alt = attributes.get("alt") or attributes.get("aria-label")
    reason = "tracker" if width is not None and height is not None and max(width, height) <= 1 else None
    return Image(
        urls,
        origin,
        one_line(alt),
        one_line(attributes.get("title")),
        width,
        height,
        link,
        lang,
        path,
        marks,
        figure,
        reason=reason,
    )


def declared(attributes: Mapping[str, str | None], side: str) -> int | None:
    """Width or height in pixels, as an attribute or in the style."""
    size = image_urls.pixels(attributes.get(side))
    if size is not None or not (style := attributes.get("style")):
        return size
    found = _STYLE[side].search(style)
    return int(found[1][:6]) if found else None


def one_line(value: str | None) -> str | None:
    """White space collapsed; None if nothing is left."""
    return " ".join(value.split())[:MAX_TEXT] or None if value else None


def symbol(image: Image) -> bool:
    """True for a formula or emoji that is set as an image and says in its alt text what it stands for."""
    return bool(image.urls and image.alt and len(image.alt) < 200 and _SYMBOL.search(image.urls[0]))


def icon(image: Image) -> bool:
    """True if the page declares it as small, or its file name does: `icons/save.png`, `add_line_24.png`."""
    if image.urls and _ICON.search(image.urls[0]):
        return True
    return image.width is not None and image.height is not None and max(image.width, image.height) <= ICON


def twin(last: Image, image: Image) -> bool:
    """True if a `noscript` image is the lazy one just before it, which then takes its URLs."""
    if last.origin == "noscript" or not image.urls:
        return False
    lazy = not last.urls or image_urls.placeholder(last.urls[0])
    if not lazy and not set(last.urls) & set(image.urls):
        return False
    own = [u for u in last.urls if not image_urls.placeholder(u)]
    # one URL beside several: a small copy that a script would replace
    last.urls = list(dict.fromkeys(image.urls + own if len(own) < min(2, len(image.urls)) else own + image.urls))
    last.alt, last.title = last.alt or image.alt, last.title or image.title
    last.width, last.height = last.width or image.width, last.height or image.height
    last.reason = image.reason if lazy else last.reason
    return True
