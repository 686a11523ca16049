"""After the walk: URLs are joined, twins merged, wrong guesses about boilerplate taken back."""

from curate.sources.html import boilerplate, image_urls
from curate.sources.html.page import Image, Mark, Page, Text

#: Guessed boilerplate that covers more of a page's text than this is content.
MOST = 0.5


def finish(page: Page, url: str) -> None:
    """Join URLs, merge twins, take back guesses that cover most of the page, fall back on the Open Graph image."""
    page.base = image_urls.resolve(url, page.base) or url
    kept: list[Text | Image] = []
    for item in page.items:
        if isinstance(item, Image):
            settle(item, page.base)
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
    weigh(page)
    if page.og_image and not any(isinstance(i, Image) and i.urls and not i.marks and not i.reason for i in kept):
        image = Image([page.og_image], "og", None, None, None, None, None, page.lang, "html>head>meta", ())
        settle(image, page.base)
        if image.urls:
            page.items.insert(0, image)


def settle(image: Image, base: str) -> None:
    """Absolute URLs, and the reason if none is left."""
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
    """Does the page say anything of an image? Of what only stands in for another one it says nothing."""
    return bool(image.alt or image.title or image.width or image.height or image.link or image.figure)


def merge(last: Image, item: Image) -> None:
    """One image said twice, for browsers with scripts and without."""
    last.urls, last.reason = (last.urls, last.reason) if last.urls and not last.reason else (item.urls, item.reason)
    last.alt, last.title = last.alt or item.alt, last.title or item.title
    last.width, last.height = last.width or item.width, last.height or item.height
    last.figure = last.figure or item.figure
    last.origin = item.origin if last.origin == "noscript" else last.origin


def weigh(page: Page) -> None:
    """Take back guessed marks that cover more than MOST of the page's text."""
    total = 0
    for item in page.items:
        if isinstance(item, Text):
            total += len(item.text)
            for mark in item.marks:
                mark.size += len(item.text)
    for item in page.items:
        if item.marks:
            item.marks = tuple(m for m in item.marks if not (m.guess and m.size > MOST * total))
