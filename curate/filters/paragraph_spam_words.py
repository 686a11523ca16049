"""Words of paragraphs that talk about the site and not about anything."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter

SPAM = (
    "account",
    "blog",
    "browser",
    "checkout",
    "click",
    "comment",
    "comments",
    "contact",
    "cookie",
    "cookies",
    "copyright",
    "disclaimer",
    "email",
    "facebook",
    "follow",
    "homepage",
    "instagram",
    "javascript",
    "linkedin",
    "login",
    "logged",
    "newsletter",
    "password",
    "permalink",
    "pinterest",
    "policy",
    "post",
    "posted",
    "posts",
    "privacy",
    "register",
    "reply",
    "reserved",
    "rights",
    "rss",
    "share",
    "sign",
    "sitemap",
    "submit",
    "subscribe",
    "terms",
    "tweet",
    "twitter",
    "unsubscribe",
    "username",
    "website",
)


@dataclass
class ParagraphSpamWords(Filter):
    """The share of words that talk about the site: log in, subscribe, cookies. OBELICS keeps up to 0.12 (arXiv 2306.16527);
    the list is ours."""

    table = "texts"
    reads = ("text",)
    max: float | None = 0.12
    words: tuple[str, ...] = SPAM
    version = 2

    def score(self, live: pa.Table) -> list:
        spam = frozenset(self.words)
        found = (None if t is None else paragraph_ratios.words(t) for t in live["text"].to_pylist())
        return [None if w is None else paragraph_ratios.listed(w, spam) for w in found]
