"""Postprocessing of a parsed page: resolves URLs, merges `noscript` duplicates, undoes wrong guesses about boilerplate."""

from curate.sources.html import boilerplate, image_urls
from curate.sources.html.page import Image, Mark, Page, Text

#: Guessed boilerplate that covers a larger share of a page's text is content.
MAX_GUESSED = 0.5


def finish(page: Page, url: str) -> None:
    """Resolve URLs, merge `noscript` duplicates, undo guesses that cover most of the page, fall back on the Open Graph image."""
    page.base = image_urls.resolve(url, page.base) or url
    kept: list[Text | Image] = []
    for item in page.items:
        if isinstance(item, Image):
            resolve_image(item, page.base)
            last = kept[-1] if kept else None
            if (
                isinstance(last, Image)
                and {last.origin, item.origin} >= {"noscript"}
                and last.origin != item.origin
                and (last.urls[:1] == item.urls[:1] or not last.urls or not item.urls)
            ):
                merge(last, item)
                continue
        kept.append(item)
    page.items = kept
    undo_wide_guesses(page)
    if page.og_image and not any(isinstance(i, Image) and i.urls and not i.marks and not i.reason for i in kept):
        image = Image([page.og_image], "og", None, None, None, None, None, page.lang, "html>head>meta", ())
        resolve_image(image, page.base)
        if image.urls:
            page.items.insert(0, image)


def resolve_image(image: Image, base: str) -> None:
    """Make an image's URLs absolute, and set its reason if none is left."""
    raw = image.urls
    real = [u for u in raw if not image_urls.hollow(u)]
    image.urls = list(dict.fromkeys(u for r in real if (u := image_urls.resolve(base, r))))
    if image.link and image.link.startswith("javascript:"):
        image.link = None
    image.link = image_urls.resolve(base, image.link) if image.link else None
    if not image.urls:
        image.reason = image.reason or ("inline" if raw and len(real) < len(raw) else "no_url")
    elif not has_text(image) and all(map(image_urls.stand_in, image.urls)):
        image.reason = image.reason or "inline"
    if image.urls and boilerplate.SIGNS.search(image.urls[0]):
        image.marks = (*image.marks, Mark("sign", False))
    if image.link and image_urls.image_link(image.link) and image.urls and image.link not in image.urls:
        image.urls.append(image.link)


def has_text(image: Image) -> bool:
    """Whether the page describes an image by text, size or a link; it does not describe placeholders."""
    return bool(image.alt or image.title or image.width or image.height or image.link or image.figure)


def merge(last: Image, item: Image) -> None:
    """Merge the two elements of one image, for browsers with scripts and without, into the first."""
    last.urls, last.reason = (last.urls, last.reason) if last.urls and not last.reason else (item.urls, item.reason)
    last.alt, last.title = last.alt or item.alt, last.title or item.title
    last.width, last.height = last.width or item.width, last.height or item.height
    last.figure = last.figure or item.figure
    last.origin = item.origin if last.origin == "noscript" else last.origin


def undo_wide_guesses(page: Page) -> None:
    """Remove guessed marks that cover a larger share of the page's text than MAX_GUESSED."""
    total = 0
    for item in page.items:
        if isinstance(item, Text):
            total += len(item.text)
            for mark in item.marks:
                mark.size += len(item.text)
    for item in page.items:
        if item.marks:
            item.marks = tuple(m for m in item.marks if not (m.guess and m.size > MAX_GUESSED * total))
