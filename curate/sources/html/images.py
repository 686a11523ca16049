"""Images of a page: their declared sizes and texts, and their duplicates in `noscript`."""

import re
from collections.abc import Mapping

from curate.sources.html import image_urls
from curate.sources.html.page import MAX_TEXT, Figure, Image, Mark

#: Pixels up to which an image inside a line is an icon and does not split the paragraph.
ICON = 32

_SYMBOL = re.compile(r"latex|mathjax|/math/|tex\.cgi|emoji|smil(?:ey|ies)", re.IGNORECASE)
#: Class words of a formula or emoji set as an image: MediaWiki, WordPress, Sphinx, Canvas.
_FORMULA = frozenset(
    "mwe-math-fallback-image-inline mwe-math-fallback-image-display tex latex math equation_image emoji wp-smiley".split()
)
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
        formula="class" in attributes and not _FORMULA.isdisjoint((attributes["class"] or "").split()),
    )


def declared(attributes: Mapping[str, str | None], side: str) -> int | None:
    """Width or height in pixels, as an attribute or in the style."""
    size = image_urls.pixels(attributes.get(side))
    if size is not None or not (style := attributes.get("style")):
        return size
    found = _STYLE[side].search(style)
    return int(found[1][:6]) if found else None


def one_line(value: str | None) -> str | None:
    """White space collapsed, no more than MAX_TEXT; None if nothing is left."""
    return " ".join(value.split())[:MAX_TEXT] or None if value else None


def symbol(image: Image) -> bool:
    """True for a formula or emoji that is set as an image and says in its alt text what it stands for."""
    if not image.urls or not image.alt or len(image.alt) > 1000:
        return False
    return image.formula or (len(image.alt) < 200 and _SYMBOL.search(image.urls[0]) is not None)


def icon(image: Image) -> bool:
    """True if the page declares it as small, or its file name does: `icons/save.png`, `add_line_24.png`."""
    if image.urls and _ICON.search(image.urls[0]):
        return True
    return image.width is not None and image.height is not None and max(image.width, image.height) <= ICON


def twin(last: Image, image: Image) -> bool:
    """Whether a `noscript` image is a duplicate of the lazily loaded one just before it, which then gets its URLs."""
    if last.origin == "noscript" or not image.urls:
        return False
    lazy = not last.urls or image_urls.hollow(last.urls[0]) or image_urls.stand_in(last.urls[0])
    if not lazy and not set(last.urls) & set(image.urls):
        return False
    own = [] if lazy else last.urls
    # one URL beside several: a small copy that a script would replace
    both = image.urls + last.urls if len(own) < min(2, len(image.urls)) else own + image.urls
    real = [u for u in dict.fromkeys(both) if not image_urls.hollow(u) and not image_urls.stand_in(u)]
    last.urls = real or image.urls
    last.alt, last.title = last.alt or image.alt, last.title or image.title
    last.width, last.height = last.width or image.width, last.height or image.height
    last.reason = image.reason if lazy else last.reason
    return True
