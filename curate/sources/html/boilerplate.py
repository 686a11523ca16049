"""Which elements of a page are not its content: menus, footers, advertisements, cookie bars, and the word for each.

Decided from tags, ARIA roles and whole words of class and id, as a mark that everything inside carries. A mark from class
words is a guess, so it is taken back where it would cover most of the page (settle.py does that).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

TAGS = {"nav": "nav", "footer": "footer", "header": "header", "aside": "aside", "button": "form", "select": "form",
        "dialog": "popup", "menu": "nav"}
ROLES = {"navigation": "nav", "banner": "header", "contentinfo": "footer", "complementary": "aside", "search": "search",
         "dialog": "popup", "alertdialog": "popup", "menu": "nav", "menubar": "nav", "toolbar": "nav", "tablist": "nav"}

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

#: "has-sidebar", "no-nav": the word describes the page and is not the thing.
_ABOUT = re.compile(r"\b(?:has|no|with|without|not|is|show|hide)[-_][\w-]+")
_WORD = re.compile(r"[a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


@lru_cache(maxsize=8192)
def by_class(names: str) -> str | None:
    """The reason that the words of a class and id give, or None."""
    if len(names) > 1000:
        return None
    lowered = _ABOUT.sub(" ", _CAMEL.sub("-", names).lower())
    for whole in lowered.split():
        if whole in CLASSES:
            return CLASSES[whole]
    for word in _WORD.findall(lowered):
        if word in CLASSES:
            return CLASSES[word]
    return None


def certain(tag: str, attributes: Mapping[str, str | None], inside_main: bool) -> str | None:
    """The reason that tag, role or `hidden` give. Inside `main` and `article` headers, footers and asides are content."""
    reason = TAGS.get(tag) or ROLES.get((attributes.get("role") or "").lower())
    if reason in ("header", "footer", "aside") and inside_main:
        reason = None
    if reason is None and ("hidden" in attributes or _HIDDEN.search(attributes.get("style") or "")):
        return "hidden"
    return reason
