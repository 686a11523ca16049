"""Words in the URLs of images."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa

from curate.stage import Filter

#: OBELICS and mmc4: logo, button, icon, plugin, widget; OBELICS and MINT-1T: porn, xxx, sex; MINT-1T: avatar; the rest are trackers
#: and parts of layouts, and ours.
BLOCKED = (
    "logo",
    "button",
    "icon",
    "plugin",
    "widget",
    "avatar",
    "porn",
    "xxx",
    "sex",
    "tracker",
    "tracking",
    "beacon",
    "pixel",
    "spacer",
    "blank",
    "placeholder",
    "banner",
    "badge",
    "sprite",
    "favicon",
    "emoji",
    "smiley",
    "doubleclick",
    "adserver",
)
_WORD = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")


@dataclass
class ImageUrlWords(Filter):
    """How many blocked words an image's URL holds.

    whole: as whole words, also plurals. The published pipelines look for substrings in the case
    of the list (`whole=False`) and so lose `lexicon.jpg` and
    `Essex.jpg`; whole words keep them.

    words: words that are blocked. OBELICS (2306.16527) blocks URLs in this way; the list is ours and longer.
    """

    reads = ("url",)
    dtype = pa.int32()
    unit = "words"
    max: float | None = 0
    words: tuple[str, ...] = BLOCKED
    whole: bool = True
    version = 3

    def score(self, live: pa.Table) -> list:
        urls = live["url"].to_pylist()
        if not self.whole:
            return [None if u is None else sum(w in u for w in self.words) for u in urls]
        blocked = {*self.words, *(w + "s" for w in self.words)}
        return [None if u is None else sum(w.lower() in blocked for w in _WORD.findall(unquote(u))) for u in urls]
