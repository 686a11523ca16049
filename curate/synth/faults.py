"""What is wrong with a text that a model wrote. A faulty text is passed over by Mix and the others; its row stays."""

import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate.filters.paragraph_ratios import words as spaced
from curate.stage import Stage

#: Every fault, in the order in which they are listed.
FAULTS = {
    "missing": "there is no text (its `finish` says why)",
    "empty": "no letter in it",
    "refusal": "the model declines, or speaks of itself",
    "moderation": "a filter of the server stopped the request or the answer",
    "prompt_leak": "words of the prompt or of the chat template are in it",
    "markup": "a role, a tag, a code fence or a heading is in it",
    "repetition": "more than `max_repetition` of its 4-grams are repeated, or it compresses by more than `max_compression`",
    "same_sentence": "a sentence is in it twice",
    "cut_off": "it ends without a full stop at the token limit, or in the middle of a phrase",
    "language": "most of its letters are not of the wanted script",
    "short": "fewer than `min_words` words",
    "long": "more than `max_words` words",
    "number": "a number of two digits or more that no source has",
    "quote": "quoted words that no source has",
    "person": "a name (two capitalised words inside a sentence) that no source has",
}

REFUSAL = re.compile(
    r"\b(as an? (ai|language model|assistant)|i('| a)?m (sorry|unable|not able)|i (cannot|can't|can not|am unable"
    r"|won't|do not have the ability)"
    r"|(cannot|can't|unable to) (see|view|access|provide|assist|describe|process|identify)|against (my|the) (policy"
    r"|guidelines)|no image (was|is|has been))\b",
    re.I,
)
MARKUP = re.compile(r"<[a-z_/|][^>]{0,30}>|\[/?INST\]|```|^\s*#{1,4} |\b(user|assistant|system|human|gpt)\s*:", re.I | re.M)
#: Openings that say nothing; stripped rather than dropped.
BOILERPLATE = re.compile(
    r"^\s*((sure|certainly|of course|okay|ok)[,!.:]\s*)?(here('s| is) (a|an|the|my|your) [\w ]{0,30}(caption"
    r"|description|sentence|translation)[\w ]{0,20}:\s*)?"
    r"((in )?(this|the) (image|picture|photo|photograph|illustration)( here)?( (shows|depicts|features|displays"
    r"|captures|presents|contains|is of)( us)?|,)\s+"
    r"|(an?|the) (image|picture|photo|photograph) of (?=an?\b|the\b|some\b|two\b|three\b))?((caption|description)?\s*:)?\s*",
    re.I,
)
DANGLING = re.compile(r"\b(a|an|the|of|with|and|or|in|on|at|to|for|by|from|is|are|that|which|its|his|her|their)\s*$", re.I)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'“A-Z])")
QUOTED = re.compile(r"[\"“]([^\"”]{2,60})[\"”]|(?<!\w)['‘]([^'’]{3,60})['’](?!\w)")
PERSON = re.compile(r"(?<=[a-z,] )([A-Z][a-z]+(?: [A-Z][a-z]+)+)")


def stripped(text: str) -> str:
    """The text without an opening that says nothing ("The image shows", "Sure! Here is a caption:"), its first letter as it was
    there."""
    at = BOILERPLATE.match(text).end()
    rest = re.sub(r'^["“]([^"“”]*)["”]$', r"\1", text[at:].strip()).strip()
    return rest[:1].upper() + rest[1:] if at and text[:1].isupper() else rest


def sentences(text: str) -> list[str]:
    """Sentences, parted after `.`, `!` or `?` before a capital letter."""
    return [s for s in SENTENCE.split(text.strip()) if s]


def repeated(words: list[str], n: int = 4) -> float:
    """The share of n-grams that are repeats of an earlier one; 0 where there are none."""
    grams = Counter(zip(*(words[i:] for i in range(n))))
    total = sum(grams.values())
    return 1 - len(grams) / total if total else 0.0


def compression(text: str) -> float:
    """Length over length when compressed, in bytes; of texts under 80 bytes it says nothing and is 1."""
    data = text.encode()
    return len(data) / len(zlib.compress(data, 6)) if len(data) >= 80 else 1.0


@dataclass
class CaptionFaults(Stage):
    """Adds `<of>_faults`: the list of what is wrong with the text in the column `of`, empty if nothing is. See FAULTS.

    prompt: words of it that leak are found (6 in a row). sources: columns that numbers, quotes and names must come from (the
    raw text, OCR); with none, numbers, quotes and names are not looked at. finish: whether a record `<of>_made` is there to
    ask. The bounds are of our own choosing but for max_compression, which is Whisper's (2212.04356): a loop compresses by more
    than 2.4. In scripts without spaces two characters count as a word.

    of: column with the text. made: as `finish`. script: of the text, `latin` or any script of curate.filters.scripts. min_words, max_words: bounds of its
    length, in words.
    max_repetition: share of words that occurred before, at most. max_compression: bytes before over bytes after zlib, at most. without: faults that are
    not looked for.
    """

    version = 2

    of: str = ""
    prompt: str = ""
    sources: tuple[str, ...] = ()
    made: bool = True
    script: str = "latin"
    min_words: int = 2
    max_words: int = 200
    max_repetition: float = 0.2
    max_compression: float = 2.4
    without: frozenset[str] = field(default_factory=frozenset)  # faults that are not looked for

    def __post_init__(self):
        self.name = self.name or f"{self.of}_faults"
        super().__post_init__()
        self.sources, self.without = tuple(self.sources), frozenset(self.without)
        self.reads = (self.of, *([f"{self.of}_made"] if self.made else []), *self.sources)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.large_string())}

    def run(self, live: pa.Table) -> pa.Table:
        texts = live[self.of].to_pylist()
        finish = [(m or {}).get("finish") for m in live[f"{self.of}_made"].to_pylist()] if self.made else [None] * len(texts)
        sources = list(zip(*(live[c].to_pylist() for c in self.sources))) if self.sources else [()] * len(texts)
        found = [self.faults(t, f, " ".join(s or "" for s in source)) for t, f, source in zip(texts, finish, sources)]
        return pa.table({self.name: pa.array(found, pa.list_(pa.large_string()))})

    def faults(self, text: str | None, finish: str | None = None, source: str = "") -> list[str]:
        """The faults of one text."""
        if text is None:
            return [{"refused": "refusal", "moderated": "moderation"}.get(finish or "", "missing")]
        words, length = re.findall(r"\w+", text.lower()), len(spaced(text))
        tests: dict[str, Any] = {
            "empty": not any(c.isalpha() for c in text),
            "refusal": REFUSAL.search(text.replace("’", "'")),
            "prompt_leak": self._leaks(words),
            "markup": MARKUP.search(text),
            "repetition": repeated(words) > self.max_repetition or compression(text) > self.max_compression,
            "same_sentence": max(Counter(s.lower() for s in sentences(text)).values(), default=0) > 1,
            "cut_off": (finish == "length" and not re.search(r"[.!?。！？\"”)]\s*$", text)) or DANGLING.search(text),
            "language": self._foreign(text),
            "short": length < self.min_words,
            "long": length > self.max_words,
            **(self._unsupported(text, source) if self.sources else {}),
        }
        return [fault for fault, hit in tests.items() if hit and fault not in self.without]

    def _leaks(self, words: list[str]) -> bool:
        words_of_prompt = re.findall(r"\w+", re.sub(r"\{\w+\}", " ", self.prompt).lower())
        grams = {tuple(words_of_prompt[i : i + 6]) for i in range(len(words_of_prompt) - 5)}
        return any(tuple(words[i : i + 6]) in grams for i in range(len(words) - 5))

    def _foreign(self, text: str) -> bool:
        """Most letters outside of Latin; in any other `script` most letters inside of it."""
        letters = [c for c in text if c.isalpha()]
        latin = sum(ord(c) < 0x250 or 0x1E00 <= ord(c) < 0x1F00 for c in letters)
        return bool(letters) and (latin * 2 < len(letters) if self.script == "latin" else latin * 2 > len(letters))

    def _unsupported(self, text: str, source: str) -> dict[str, bool]:
        known = source.casefold()
        numbers = set(re.findall(r"\d{2,}", text)) - set(re.findall(r"\d{2,}", source))
        quotes = ["".join(q) for q in QUOTED.findall(text)]
        people = PERSON.findall(text)
        return {
            "number": bool(numbers),
            "quote": any(q.casefold().strip(".,!?") not in known for q in quotes),
            "person": any(p.casefold() not in known for p in people),
        }


@dataclass
class CaptionStrip(Stage):
    """Adds `caption_<name>`: the text of column `of` without an opening that says nothing, such as "The image shows".

    Ours.
    """

    version = 2

    of: str = ""

    def __post_init__(self):
        super().__post_init__()
        if not self.name.startswith("caption_"):
            self.name = f"caption_{self.name}"
        self.reads = (self.of,)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table({self.name: pa.array([t and stripped(t) for t in live[self.of].to_pylist()], pa.large_string())})
