"""Captions taken apart by rule: noun phrases, their attributes, and the words between them. No tagger, no model.

Meant for captions, which are short and plain. What the rules do not know they leave alone.
"""

import re
from dataclasses import dataclass, field

COLOURS = (
    "black white red green blue yellow orange purple pink brown grey gray golden silver beige turquoise violet blond "
    "blonde dark "
    "light"
).split()
SIZES = "big large huge giant small little tiny tall short long wide narrow thin thick".split()
MATERIALS = "wooden metal plastic glass stone brick leather paper steel cotton concrete ceramic".split()
STATES = (
    "open closed empty full old new young wet dry hot cold clean dirty happy sad round square striped spotted broken parked "
    "smiling sleeping standing sitting running flying"
).split()
NUMBERS = "one two three four five six seven eight nine ten several many few".split()
ATTRIBUTES = frozenset(COLOURS + SIZES + MATERIALS + STATES)
ARTICLES = frozenset("a an the some this that these those his her its their another each every no".split())
#: What stands between two things, and means something else the other way round.
RELATIONS = (
    "on top of",
    "in front of",
    "to the left of",
    "to the right of",
    "in the middle of",
    "on the back of",
    "hanging from",
    "looking at",
    "sitting on",
    "standing on",
    "standing in",
    "lying on",
    "leaning on",
    "parked on",
    "riding on",
    "sitting in",
    "filled with",
    "covered with",
    "covered in",
    "made of",
    "full of",
    "holding",
    "wearing",
    "riding",
    "eating",
    "carrying",
    "chasing",
    "pulling",
    "pushing",
    "watching",
    "behind",
    "above",
    "below",
    "under",
    "underneath",
    "beneath",
    "over",
    "inside",
    "outside",
    "into",
    "onto",
    "through",
    "without",
    "with",
    "on",
    "in",
    "of",
    "from",
    "at",
)
#: The same either way round: "two sinks next to two mirrors".
SYMMETRIC = (
    "next to",
    "close to",
    "side by side with",
    "together with",
    "across from",
    "beside",
    "near",
    "between",
    "among",
    "and",
    "or",
    "by",
)
#: Ends a phrase, and is no relation.
VERBS = frozenset(
    (
        "is are was were be being been has have had sits stands lies looks holds wears rides runs walks eats plays flies "
        "sleeps "
        "shows that which who while as it they he she there to for"
    ).split()
)

_JOINTS = sorted((*RELATIONS, *SYMMETRIC), key=len, reverse=True)
_JOINT = re.compile(r"\b(" + "|".join(map(re.escape, _JOINTS)) + r")\b", re.I)
_VOWEL = re.compile(r"(?!(uni([cfoqtv]|que)|use|usu|eu|one\b|once\b|ufo\b))[aeiou]|hour|honest|heir")
_ARTICLE = re.compile(r"\b(an?)(\s+)(\w+)", re.I)
_WORD = re.compile(r"[A-Za-z][\w'-]*|\d+")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: its place in the text, the article (or ""), attributes and number in order, and the rest: the noun."""

    start: int
    end: int
    article: str
    attributes: tuple[str, ...]
    noun: str


@dataclass(frozen=True)
class Parsed:
    """Phrases in order; `joints[i]` is the relation between phrases i and i + 1, or "" if they do not touch one."""

    text: str
    phrases: list[Phrase] = field(default_factory=list)
    joints: list[str] = field(default_factory=list)


def parse(text: str) -> Parsed:
    """Take a caption apart. Clauses end at punctuation."""
    parsed = Parsed(text)
    for clause in re.finditer(r"[^.,;:!?()\"]+", text):
        at, waiting = clause.start(), ""
        for joint in [*_JOINT.finditer(text, clause.start(), clause.end()), None]:
            end = joint.start() if joint else clause.end()
            found = phrase(text, at, end)
            if found:
                if parsed.phrases:
                    parsed.joints.append(waiting)
                parsed.phrases.append(found)
            waiting = joint[1].lower() if joint and found else ""
            at = joint.end() if joint else end
    return parsed


def phrase(text: str, start: int, end: int) -> Phrase | None:
    """The noun phrase that begins at `start`, up to the first verb; None if there is none."""
    words = []
    for word in _WORD.finditer(text, start, end):
        if word[0].lower() in VERBS:
            break
        words.append(word)
    article = words[0][0] if words and words[0][0].lower() in ARTICLES else ""
    rest = words[1:] if article else words
    adjectives = 0
    while adjectives < len(rest) - 1 and _describes(rest[adjectives][0].lower()):
        adjectives += 1
    if not rest or rest[-1][0].lower() in ARTICLES:
        return None
    noun = text[rest[adjectives].start() : rest[-1].end()]
    return Phrase(words[0].start(), words[-1].end(), article, tuple(w[0].lower() for w in rest[:adjectives]), noun)


def _describes(word: str) -> bool:
    return word in ATTRIBUTES or word in NUMBERS or word.isdigit()


def with_articles(text: str, model: str = "") -> str:
    """`a` and `an` as the next word wants them, other words as they were. What the model has before a word is right there: spelling
    does not tell "a US flag" from "an SUV", nor "an apple" from "vitamin A in"."""
    known = {m[3].lower(): len(m[1]) == 2 for m in _ARTICLE.finditer(model)}

    def right(match: re.Match) -> str:
        word = match[3].lower()
        an = known.get(word, bool(_VOWEL.match(word)))
        return (match[1][0] + ("n" if an else "")) + match[2] + match[3]

    return _ARTICLE.sub(right, text)


def capital_like(text: str, model: str) -> str:
    """The text with a first letter as large as the model's; other capitals stay."""
    if not text or not model:
        return text
    return (text[0].upper() if model[0].isupper() else text[0].lower()) + text[1:]
