"""Which elements of a page are not its content: menus, footers, advertisements, cookie bars, signs; and the word for each.

Decided from tags, ARIA roles and whole words of class and id, as a mark that everything inside carries. A mark from class
words is a guess, so it is taken back where it would cover most of the page (settle.py does that).
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from selectolax.lexbor import LexborNode

from curate.sources.html.elements import HEADINGS
from curate.sources.html.page import MAX_TEXT

TAGS = {
    "nav": "nav",
    "footer": "footer",
    "header": "header",
    "aside": "aside",
    "button": "form",
    "select": "form",
    "dialog": "popup",
    "menu": "nav",
}
ROLES = {
    "navigation": "nav",
    "banner": "header",
    "contentinfo": "footer",
    "complementary": "aside",
    "search": "search",
    "dialog": "popup",
    "alertdialog": "popup",
    "menu": "nav",
    "menubar": "nav",
    "toolbar": "nav",
    "tablist": "nav",
}

_WORDS = {
    "nav": "nav navbar navigation navheader navfooter navlinks navbox sitenav topnav subnav mainnav menu mainmenu menubar "
    "submenu dropdown breadcrumb breadcrumbs crumbs pagination pager pagenav toc localtoc skiplink skip-link skip",
    "footer": "footer sitefooter pagefooter colophon copyright siteinfo site-info",
    "header": "masthead topbar siteheader site-header",
    "aside": "sidebar sidebars sphinxsidebar leftbar rightbar rail",
    "ad": "ad ads advert adverts advertisement advertisements advertising adsense adsbygoogle adbox adslot sponsor sponsored "
    "sponsors taboola outbrain dfp promoted",
    "cookie": "cookie cookies cookiebar cookiebanner gdpr ccpa consent onetrust",
    "share": "share sharing sharebar sharedaddy social socials addthis sharethis",
    "related": "related recommended recommendations recirculation yarpp trending",
    "comments": "comments commentlist disqus respond",
    "newsletter": "newsletter subscribe subscription signup",
    "popup": "modal popup interstitial",
    "search": "search searchbox searchform",
}
CLASSES = {word: reason for reason, words in _WORDS.items() for word in words.split()}
#: Anchors and edit links beside headings: part of no text.
SKIPPED = frozenset({"headerlink", "anchor-link", "anchorjs-link", "mw-editsection", "heading-anchor", "octicon-link"})

#: Formulas drawn from characters, beside their MathML or TeX: KaTeX, MathJax 2. (`mathjax`, on other sites, is only text with formulas.)
DRAWN = frozenset("katex-html MathJax MathJax_Display MathJax_Preview MathJax_SVG MathJax_SVG_Display MathJax_CHTML".split())
#: Elements that may be menus, sidebars and the like because of their id. Ids of headings, paragraphs and words are addresses in a text.
CONTAINERS = frozenset("div section aside ul ol dl menu table tbody td form fieldset center details".split())
#: Class words that tools give to a section with an id made from its heading: Sphinx, Asciidoctor, pandoc, Org.
_SECTION = re.compile(r"section|sect\d|level\d|outline-\d")
#: Ids that tools write for a heading: what authors refer to in Quarto and LaTeX, and what GitHub makes of ids.
_LABEL = re.compile(r"sec[-:]|user-content-", re.IGNORECASE)

#: Class words of what sites use as a figure and its caption: WordPress, MediaWiki, DocBook, Asciidoctor, Sphinx.
FIGURES = frozenset(
    "figure informalfigure wp-caption thumb thumbinner mediaobject imageblock image-block screenshot gallerybox "
    "captioned-image figure-wrapper image-wrapper".split()
)
CAPTIONS = frozenset(
    "figcaption wp-caption-text thumbcaption gallerytext caption caption-text image-caption img-caption photo-caption "
    "media-caption".split()
)
#: The signs that DocBook, Asciidoctor and others set beside notes and warnings.
SIGNS = re.compile(r"/(?:note|tip|hint|info|important|warning|caution|danger)\.(?:png|svg|gif)$", re.IGNORECASE)
#: "has-sidebar", "no-nav": the word describes the page and is not the thing.
_ABOUT = re.compile(r"\b(?:has|no|with|without|not|is|show|hide)[-_][\w-]+")
_WORD = re.compile(r"[a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


class Names(NamedTuple):
    """The classification of an element by the words of its class and id."""

    reason: str | None = None  # boilerplate by its class, and why
    by_id: str | None = None  # the same by its id
    skipped: bool = False
    drawn: bool = False
    section: bool = False
    figure: bool = False
    caption: bool = False
    title: bool = False  # in a figure: its caption


@lru_cache(maxsize=16384)
def named(classes: str | None, id: str | None) -> Names:
    """The classification of a class and an id; cached, since a site repeats the same few classes."""
    classes, id = classes or "", id or ""
    if not (classes or id) or len(classes) + len(id) > 1000:
        return Names()
    words = frozenset(classes.lower().split())
    return Names(
        by_class(classes),
        by_class(id),
        not SKIPPED.isdisjoint(words),
        not DRAWN.isdisjoint(classes.split()),
        any(map(_SECTION.fullmatch, words)),
        not FIGURES.isdisjoint(words),
        not CAPTIONS.isdisjoint(words),
        "title" in words,
    )


def first_heading(node: LexborNode) -> str | None:
    """The text of the heading with which an element begins."""
    for _ in range(4):
        child, beside = node.first_child, 0
        while child is not None and beside < 8 and child.tag[0] == "-":
            child, beside = child.next, beside + 1
        if child is None:
            return None
        if child.tag in HEADINGS:
            return (child.text() or "")[:MAX_TEXT]
        node = child
    return None


def from_heading(id: str, heading: str, section: bool) -> bool:
    """Whether an id was made from the heading below it, or is its label, so that it describes the text. If nothing marks the element as a
    section (`section`), an id of one word, such as `comments`, counts as the name of a box."""
    bare = _LABEL.sub("", id, count=1) if _LABEL.match(id) else id
    if section and bare != id:
        return True
    words, id = re.findall(r"[^\W\d_]+", id), bare
    return (section or len(words) > 1) and bool(words) and _letters(id) == _letters(heading)


def _letters(text: str) -> str:
    """Letters without accents, and digits but those at both ends: numbers of sections, and of ids that come twice."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in plain if c.isalnum()).strip("0123456789")


def by_class(names: str) -> str | None:
    """The boilerplate reason by the words of a class or id, or None."""
    lowered = _ABOUT.sub(" ", _CAMEL.sub("-", names).lower())
    for whole in lowered.split():
        if whole in CLASSES:
            return CLASSES[whole]
    for word in _WORD.findall(lowered):
        if word in CLASSES:
            return CLASSES[word]
        if word.endswith("nav"):  # docnav, pagenav, bottomnav
            return "nav"
    return None


def certain(tag: str, attributes: Mapping[str, str | None], inside_main: bool) -> str | None:
    """The boilerplate reason by tag, role or `hidden`, or None. Inside `main` and `article` headers, footers and asides are content."""
    reason = TAGS.get(tag)
    if reason is None and "role" in attributes:
        reason = ROLES.get((attributes["role"] or "").lower())
    if reason in ("header", "footer", "aside") and inside_main:
        reason = None
    if reason is None and ("hidden" in attributes or ("style" in attributes and _HIDDEN.search(attributes["style"] or ""))):
        return "hidden"
    return reason
