"""Which URL an image on a page really has: srcset, lazy loading, placeholders, and joining with the page's base.

What is found here is a list, best first: the first is `url`, all are kept as `candidates` for retries.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from curate.web.url import join

#: Of several sizes of an image the widest up to this many pixels is taken; if all are wider, the narrowest.
MAX_WIDTH = 2048
#: Candidates kept of one image, and the longest URL.
MAX_CANDIDATES, MAX_URL = 8, 4096

#: Attributes in which scripts for lazy loading keep the real URL.
LAZY = (
    "data-src",
    "data-original",
    "data-lazy-src",
    "data-lazy",
    "data-lazyload",
    "data-original-src",
    "data-actualsrc",
    "data-image",
    "data-image-src",
    "data-img-src",
    "data-img",
    "data-url",
    "data-echo",
    "data-ll-src",
    "data-cfsrc",
    "data-flickity-lazyload",
    "data-delayed-url",
    "data-nitro-lazy-src",
    "nitro-lazy-src",
    "data-src-retina",
    "data-hi-res-src",
    "data-pagespeed-lazy-src",
    "data-ezsrc",
    "data-large-file",
    "data-orig-file",
    "data-old-hires",
    "data-pin-media",
    "data-zoom-image",
    "data-croporisrc",
    "ess-data",
    "lazy-src",
    "lazysrc",
    "lazyload-src",
    "file",
    "zoomfile",
)
SRCSETS = ("data-srcset", "data-lazy-srcset", "data-original-set", "data-nitro-lazy-srcset", "lazy-srcset", "srcset")
LAZY_BACKGROUNDS = ("data-bg", "data-background", "data-background-image", "data-bg-image")
BACKGROUNDS = frozenset({"style", *LAZY_BACKGROUNDS})

_EXTENSION = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|jfif)(?:$|[?#!@&:])", re.IGNORECASE)
_IMAGE_FILE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|jfif|svg)$", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"^(?:blank|spacer|placeholder|transparent|pixel|lazy|lazyload|loading|loader|grey|gray|dummy|empty|trans|clear|none|1x1|"
    r"shim|dot|thumb-default|image|img|no|s|p|px|default|\d+)(?:[-_.](?:blank|placeholder|image|img|pixel|transparent|gif|lazy|load|"
    r"loading|loader|gr[ae]y|bg|\d+x?\d*))*$"
)
_CSS_URL = re.compile(r"""background(?:-image)?\s*:[^;]*?url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"']*))\s*\)""", re.IGNORECASE)
_DESCRIPTOR = re.compile(r"\s*([^,(]*(?:\([^)]*\)[^,(]*)*)(?:,|$)")
_CANDIDATE = re.compile(r"[\s,]*(\S+)")
_DIGITS = re.compile(r"\s*(\d{1,6})(?:\.\d*)?\s*(?:px)?\s*$")


def srcset(value: str) -> list[tuple[str, float | None, float]]:
    """The candidates of a srcset as (URL, width in pixels or None, density), as the HTML standard splits it: a comma inside
    a URL belongs to the URL."""
    found: list[tuple[str, float | None, float]] = []
    at = 0
    while at < len(value) and len(found) < 64:
        start = _CANDIDATE.match(value, at)
        if start is None:
            break
        url, at = start[1], start.end()
        width, density = None, 1.0
        if url.endswith(","):
            url = url.rstrip(",")
        else:
            rest = _DESCRIPTOR.match(value, at)
            at = rest.end() if rest else len(value)
            width, density = _size(rest[1].split() if rest else [])
        if url:
            found.append((url, width, density))
    return found


def _size(descriptors: list[str]) -> tuple[float | None, float]:
    width, density = None, 1.0
    for word in descriptors:
        try:
            if word.endswith("w"):
                width = float(word[:-1])
            elif word.endswith("x"):
                density = float(word[:-1])
        except ValueError:
            continue  # a descriptor that is no number says nothing
    return width, density


def ranked(sets: Iterable[str]) -> list[str]:
    """URLs of several srcsets, best first: the widest that fits, then narrower ones, then those too wide, narrowest first."""
    found = [c for value in sets for c in srcset(value)]
    wide = any(w is not None for _, w, _ in found)

    def key(candidate: tuple[str, float | None, float]) -> tuple[bool, float]:
        _, width, density = candidate
        size = (width or 0.0) if wide else density
        limit = MAX_WIDTH if wide else 3.0
        return (size > limit, size if size > limit else -size)

    return [url for url, _, _ in sorted(found, key=key) if not url.startswith("data:")]


def candidates(attributes: Mapping[str, str | None], sources: Iterable[Mapping[str, str | None]] = ()) -> list[str]:
    """The raw URLs of an `img` (with the `source` elements of its `picture`), best first; placeholders come last.

    Order: srcset and picture sources by size, attributes of lazy loading, src, and any other data attribute with an image's
    file name. AVIF and SVG sources go behind the others: not every decoder reads them.
    """
    plain, exotic = [], []
    for source in sources:
        sets = [source[k] for k in SRCSETS if source.get(k)] or [source[k] for k in ("data-src", "src") if source.get(k)]
        (exotic if any(t in (source.get("type") or "") for t in ("avif", "svg", "jxl")) else plain).extend(sets)
    plain += [attributes[k] for k in SRCSETS if attributes.get(k)]
    found = ranked(plain)
    found += [v.strip() for k in LAZY if (v := attributes.get(k)) and _looks_like_url(v)]
    src = (attributes.get("src") or "").strip()
    found += [src] if src else []
    found += [
        v.strip() for k, v in attributes.items() if v and k.startswith("data-") and k not in SRCSETS and _image_file(v.strip())
    ]
    found = list(dict.fromkeys(found + ranked(exotic)))
    real = [u for u in found if not placeholder(u)]
    return (real + [u for u in found if u not in real])[:MAX_CANDIDATES] if len(found) > 1 else found


def _looks_like_url(value: str) -> bool:
    value = value.strip()
    if not value or len(value) > MAX_URL or value[0] in "{[<(" or value[-1] == ",":
        return False
    return ("/" in value or "." in value) and (" " not in value or _EXTENSION.search(value) is not None)


def _image_file(value: str) -> bool:
    return 0 < len(value) < MAX_URL and " " not in value and value[0] not in "{[" and _EXTENSION.search(value) is not None


def placeholder(url: str) -> bool:
    """True for what stands in while the real image loads: data URIs, `about:blank`, and file names such as `blank.gif`."""
    if not url or url[0] == "#" or url[:11].lower().startswith(("data:", "about:", "javascript:", "blob:")):
        return True
    name = PurePosixPath(url.split("?", 1)[0].split("#", 1)[0]).name.lower()
    stem = name.rsplit(".", 1)[0]
    kind = name.endswith((".gif", ".png", ".svg", ".webp"))
    return kind and bool(stem) and not stem.isdigit() and _PLACEHOLDER.match(stem) is not None


def background(attributes: Mapping[str, str | None]) -> list[str]:
    """The URL of an element's own background: its style, or a lazy attribute for it."""
    found = [m.strip() for k in LAZY_BACKGROUNDS if (m := attributes.get(k)) and _looks_like_url(m)]
    style = attributes.get("style") or ""
    if "url(" in style.lower() and len(style) < 4 * MAX_URL:
        found += [next(g for g in m.groups() if g is not None).strip() for m in _CSS_URL.finditer(style)]
    return [u for u in dict.fromkeys(found) if not placeholder(u)]


def image_link(href: str | None) -> bool:
    """True if a link leads to an image file: the large version of the thumbnail inside it."""
    return bool(href) and _IMAGE_FILE.search(href.split("?", 1)[0].split("#", 1)[0]) is not None


def resolve(base: str, raw: str) -> str | None:
    """An absolute URL without fragment, joined as browsers do; None if it is not http(s) (or a file beside a file)."""
    raw = raw.strip()
    if not raw or raw[0] == "#" or len(raw) > MAX_URL:
        return None
    try:
        url = join(base, raw).split("#", 1)[0]
    except ValueError:
        return None
    ok = url.startswith(("http://", "https://")) or (url.startswith("file://") and base.startswith("file://"))
    return url if ok and len(url) <= MAX_URL else None


def pixels(value: str | None) -> int | None:
    """A declared length in pixels; None for percentages, words and nothing."""
    found = _DIGITS.match(value) if value else None
    return int(found[1]) if found else None
