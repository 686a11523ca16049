"""The real URLs of a page's images: srcset, lazy loading, placeholders, and joining with the page's base.

What is found here is a list, best first: the first is `url`, all are kept as `candidates` for retries.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from curate.sources.html import media
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
#: Types of `source` that browsers show: those that every decoder reads, and the others.
_READ = frozenset("image/" + t for t in ("jpeg", "jpg", "pjpeg", "png", "x-png", "apng", "gif", "webp", "bmp", "x-icon"))
_UNREAD = frozenset(("image/avif", "image/svg+xml"))
SRCSETS = ("data-srcset", "data-lazy-srcset", "data-original-set", "data-nitro-lazy-srcset", "lazy-srcset", "srcset")
LAZY_BACKGROUNDS = ("data-bg", "data-background", "data-background-image", "data-bg-image")
BACKGROUNDS = frozenset({"style", *LAZY_BACKGROUNDS})

_EXTENSION = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|jfif)(?:$|[?#!@&:])", re.IGNORECASE)
_IMAGE_FILE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|jfif|svg)$", re.IGNORECASE)
#: File names that sites give to what stands in while an image loads. A hint only: pictures have them too.
_STAND_IN = re.compile(
    r"^(?:blank|spacer|placeholder|transparent|pixel|lazy|lazyload|loading|loader|grey|gray|dummy|empty|trans|clear|none|1x1|"
    r"shim)(?:[-_.](?:blank|placeholder|image|img|pixel|transparent|gif|lazy|load|loading|loader|gr[ae]y|bg|\d+x?\d*))*$"
)
#: Addresses of nothing, and what scripts write where they have none.
_NOTHING = re.compile(r"#|(?:data|about|javascript|blob):|(?:undefined|null|nan|false|true|\[object \w+\])$|$", re.IGNORECASE)
#: What a script was to fill in: `{width}`, `{{ src }}`, `${url}`, `%7Bwidth%7D`, `[WIDTH]`, `<%= url %>`. A GUID in braces is none.
_TEMPLATE = re.compile(
    r"\{\{|\$?\{\s*[a-z_][\w.$]*\s*\}|%7b(?:%7b|\s*[a-z_]\w*%7d)|\[(?:width|height|w|h|size|dpr)\]|<%|\[%", re.IGNORECASE
)
_WIDTH = re.compile(r"\{w(?:idth)?\}|%7bw(?:idth)?%7d|\[w(?:idth)?\]", re.IGNORECASE)
_CSS_URL = re.compile(r"""background(?:-image)?\s*:[^;]*?url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"']*))\s*\)""", re.IGNORECASE)
_DESCRIPTOR = re.compile(r"\s*([^,(]*(?:\([^)]*\)[^,(]*)*)(?:,|$)")
_CANDIDATE = re.compile(r"[\s,]*(\S+)")
_NUMBER = re.compile(r"(\d*\.?\d+(?:[eE][+-]?\d+)?)x|(\d+)([wh])")
_DIGITS = re.compile(r"\s*(\d{1,6})(?:\.\d*)?\s*(?:px)?\s*$")


def srcset(value: str) -> list[tuple[str, float | None, float]]:
    """The candidates of a srcset as (URL, width in pixels or None, density), as the HTML standard splits it: a comma inside
    a URL belongs to the URL, and a candidate with a descriptor that is wrong is none."""
    found: list[tuple[str, float | None, float]] = []
    at = 0
    while at < len(value) and len(found) < 64:
        start = _CANDIDATE.match(value, at)
        if start is None:
            break
        url, at = start[1], start.end()
        size: tuple[float | None, float] | None = (None, 1.0)
        if url.endswith(","):
            url = url.rstrip(",")
        else:
            rest = _DESCRIPTOR.match(value, at)
            at = rest.end() if rest else len(value)
            size = _size(rest[1].split()) if rest else None
        if url and size:
            found.append((url, *size))
    return found


def _size(descriptors: list[str]) -> tuple[float | None, float] | None:
    """Width and density; None for a descriptor that the standard does not know, that is zero, or that does not go with the others."""
    seen: dict[str, float] = {}
    for word in descriptors:
        found = _NUMBER.fullmatch(word)
        if found is None:
            return None
        kind, number = ("x", float(found[1])) if found[1] else (found[3], float(found[2]))
        if kind in seen or (number <= 0 and kind != "x"):
            return None
        seen[kind] = number
    if set(seen) not in ({}.keys(), {"w"}, {"w", "h"}, {"x"}):
        return None
    return seen.get("w"), seen.get("x", 1.0)


def ranked(sets: Iterable[str]) -> list[str]:
    """URLs of several srcsets, best first: the widest that fits, then narrower ones, then those too wide, narrowest first."""
    found = [c for value in sets for c in srcset(value)]
    wide = any(w is not None for _, w, _ in found)

    def key(candidate: tuple[str, float | None, float]) -> tuple[bool, float]:
        _, width, density = candidate
        size = (width or 0.0) if wide else density
        limit = MAX_WIDTH if wide else 3.0
        return (size > limit, size if size > limit else -size)

    return [url for url, _, _ in sorted(found, key=key) if not hollow(url)]


def candidates(attributes: Mapping[str, str | None], sources: Iterable[Mapping[str, str | None]] = ()) -> list[str]:
    """The raw URLs of an `img` (with the `source` elements before it in its `picture`), best first.

    Order: the first source that a desktop browser would take, srcset by size, attributes of lazy loading, src, any other data
    attribute with an image's file name; then sources of a type that not every decoder reads (AVIF, SVG) and those for other
    screens. What is named like a placeholder is none where there is something else.
    """
    chosen, others = _picked(sources)
    found = chosen + ranked(attributes[k] for k in SRCSETS if attributes.get(k))
    found += [v.strip() for k in LAZY if (v := attributes.get(k)) and _looks_like_url(v)]
    src = (attributes.get("src") or "").strip()
    found += [src] if src else []
    found += [
        v.strip() for k, v in attributes.items() if v and k.startswith("data-") and k not in SRCSETS and _image_file(v.strip())
    ]
    filled = (fill(u, attributes) for u in dict.fromkeys(found + others))
    urls = list(dict.fromkeys(u for u in filled if u))
    real = [u for u in urls if not hollow(u) and not stand_in(u)]
    return (real or sorted(urls, key=hollow))[:MAX_CANDIDATES]


def _picked(sources: Iterable[Mapping[str, str | None]]) -> tuple[list[str], list[str]]:
    """The URLs of the source that a desktop browser would take, and those of the others."""
    chosen: list[str] = []
    read, unread, narrow = [], [], []  # by type; those whose media query does not hold
    for source in sources:
        sets = [source[k] for k in SRCSETS if source.get(k)] or [source[k] for k in ("data-src", "src") if source.get(k)]
        kind = (source.get("type") or "").split(";")[0].strip().lower()
        if kind and kind not in _READ and kind not in _UNREAD:
            continue
        urls = ranked(sets)
        if not media.matches(source.get("media")):
            narrow += urls
        elif kind in _UNREAD:
            unread += urls
        elif not chosen:
            chosen = urls
        else:
            read += urls
    return chosen, read + unread + narrow


def fill(url: str, attributes: Mapping[str, str | None]) -> str | None:
    """A URL template completed with the best of `data-widths`, as lazysizes does; None if a variable remains."""
    if not _TEMPLATE.search(url):
        return url
    try:
        widths = [w for w in json.loads(attributes.get("data-widths") or "[]") if isinstance(w, int) and w > 0]
    except (ValueError, TypeError, RecursionError):
        return None
    if widths:
        fitting = [w for w in widths if w <= MAX_WIDTH]
        url = _WIDTH.sub(str(max(fitting) if fitting else min(widths)), url)
    return None if _TEMPLATE.search(url) else url


def _looks_like_url(value: str) -> bool:
    value = value.strip()
    if not value or len(value) > MAX_URL or value[0] in "{[<(" or value[-1] == ",":
        return False
    return ("/" in value or "." in value) and (" " not in value or _EXTENSION.search(value) is not None)


def _image_file(value: str) -> bool:
    return 0 < len(value) < MAX_URL and " " not in value and value[0] not in "{[" and _EXTENSION.search(value) is not None


def hollow(url: str) -> bool:
    """Whether a URL is not the address of an image: a data URI, `about:blank`, a bare fragment."""
    return _NOTHING.match(url.strip()) is not None


def stand_in(url: str) -> bool:
    """Whether a file name is that of a usual placeholder, such as `blank.gif`, while the real image loads."""
    name = PurePosixPath(url.split("?", 1)[0].split("#", 1)[0]).name.lower()
    return _STAND_IN.match(name.rsplit(".", 1)[0]) is not None


def background(attributes: Mapping[str, str | None]) -> list[str]:
    """The URL of an element's own background: its style, or a lazy attribute for it."""
    found = [m.strip() for k in LAZY_BACKGROUNDS if (m := attributes.get(k)) and _looks_like_url(m)]
    style = attributes.get("style") or ""
    if "url(" in style.lower() and len(style) < 4 * MAX_URL:
        found += [next(g for g in m.groups() if g is not None).strip() for m in _CSS_URL.finditer(style)]
    return [u for u in dict.fromkeys(found) if not hollow(u) and not _TEMPLATE.search(u)]


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
