"""OmniCorpus' rules for paragraphs of English pages."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter

_COUNTERS = ("likes", "followers", "subscribes", "share", "comments", "comments:", "dislikes", "comment", "comment.")
_LAST = re.compile(
    r"(?:references|likes?|shares?|comments?|reviews?|reviews about|call us at|email us at|more images|users online|copyright|"
    r"subscribes?) *:? *$"
)
_ANYWHERE = (
    "for more info",
    "for more detail",
    "top threads",
    "most read",
    "most viewed",
    "most shared",
    "most liked",
    "more here",
    "for details on the",
    "the link is",
)
_SHORT = ("sign-in", "sign in", "sign up", "read more", "item in cart")
_SOURCES = re.compile(
    r"^special thanks|published\s*by|all\s*photo\s*credits\s*and\s*copyright|\(cf\..*?\)$|\([\w\s&,]+\s*,\s*\d{4,}\)$", re.I
)
#: Written as in the released code, case and all.
_FRAMES = (
    "We appreciate your help to end bad business websites",
    "Not Your Average WordPress Web Design Agency",
    "Subscribe to receive exclusive content and notifications",
    "Services",
    "Any questions?",
    "Downloadable software products",
    "Some health and personal care items",
    "Please contact us through our Contact Us page to open a return ticket.",
    "Top image",
    "Like Liked",
    "Looking for",
    "How do I login to my zoom account",
    "Watch on YouTube",
    "Contact Information",
    "Read More",
    "Showing 1–9 of 7361 results",
    "Call Us",
    "There are no reviews yet",
    "Related Fellow",
    "Want More",
    "More information",
    "Login and Registration",
    "Google+",
    "YouTube",
    "Subscribe",
    "Available for you in",
    "Sign in",
    "view details",
    "ID #",
    "Thank you so much for reading",
)
_PHONE = re.compile(r"\d{3}-\d{3}-\d{4}|\(\d{3}\)\s?\d{3}-\d{4}")
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|"
    r"Oct|Nov|Dec)"
)
_TIME = re.compile(
    rf"{_MONTH}\s\d{{1,2}},\s\d{{4}}|\d{{1,2}}\s{_MONTH}\s\d{{4}}|\b\d{{1,2}}[:.]\d{{2}}\s*[ap]?\.?m\.?\b"
    r"|\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\b|\b(?:[01]?\d|2[0-3])(?::[0-5]\d)?[ap]\.?m\.?\b"
)
_MADE_BY = re.compile(
    r"published on|published by|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}|\d{2}/\d{2}/\d{4}|@\w+|\d{3}-\d{3}-\d{4}|https?://\S"
)
_PHOTO = re.compile(r"\(Photo:[A-Za-z,\s]{0,20}\)")
_GOES_ON = re.compile(
    r"\b(?:read more|more words|read next|learn more|see this article|click here|continue reading|read full article|see more|"
    r"click to view details|read the rest|show more|continue browsing|read next section|view full content|read on|see remaining|"
    r"continue watching|explore more)\b[^a-z0-9]*$",
    re.I,
)


@dataclass
class ParagraphOmniCorpus(Filter):
    """How many of OmniCorpus' rules for paragraphs this one breaks (arXiv 2406.08418, human_feedback_textfiltering in its released code,
    Apache 2.0), made by people who looked at pages: capitals or digits only, counters of social media, sign in and read more, phrases of
    frames, phone numbers, dates and authors in short lines, sources, endings that go on elsewhere.

    Not here: rules that look at other paragraphs (heads without content, lists of references, captions beside images), and those that
    change texts (addresses taken out, first and last sentences that are cut). Near an image its code spares capitals and digits.
    """

    table = "texts"
    reads = ("text",)
    dtype = pa.int32()
    unit = "rules broken"
    max: float | None = 0

    def score(self, live: pa.Table) -> list:
        return [None if t is None else broken(t.strip()) for t in live["text"].to_pylist()]


def broken(text: str) -> int:
    plain, count = text.lower(), len(paragraph_ratios.spaced(text).split())
    dense = sum(not c.isspace() for c in text)
    return sum(
        (
            dense > 0 and sum(map(str.isupper, text)) / dense > 0.8,
            not text or sum(map(str.isdigit, text)) / len(text) > 0.8,
            plain.endswith(_COUNTERS) or _LAST.search(plain) is not None,
            any(p in plain for p in _ANYWHERE),
            count <= 10 and any(p in plain for p in _SHORT),
            any(p in text for p in _FRAMES) or (text.isascii() and len(text) < 10),
            plain == "advertisement",
            _SOURCES.search(text) is not None,
            count < 80 and _PHONE.search(text) is not None,
            count < 20 and _TIME.search(text) is not None,
            count < 10 and (plain.startswith("by ") or _PHOTO.search(text) is not None),
            count < 10 and _MADE_BY.search(text) is not None,
            _GOES_ON.search(text) is not None,
        )
    )
