"""Captions that are nearly right: NegCLIP's swaps (2210.01936) and negations, with articles repaired and no swap that means the
same."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import RecipeError
from curate.stage import Stage
from curate.synth.captioners.base import seed_of
from curate.synth.phrases import (
    COLOURS,
    MATERIALS,
    NUMBERS,
    RELATIONS,
    SIZES,
    Parsed,
    Phrase,
    capital_like,
    parse,
    with_articles,
)

KINDS = ("swap_objects", "swap_attributes", "replace_attribute", "replace_relation", "negation")
#: Words of the other meaning; a relation is replaced by its opposite, an attribute by another of its kind.
OPPOSITE = {
    "on": "under",
    "under": "on",
    "above": "below",
    "below": "above",
    "over": "under",
    "inside": "outside",
    "outside": "inside",
    "in front of": "behind",
    "behind": "in front of",
    "with": "without",
    "without": "with",
    "on top of": "underneath",
    "underneath": "on top of",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
}
GROUPS = (COLOURS[:15], SIZES[:7], MATERIALS, NUMBERS[1:10])
LIKE = (
    {"big", "large", "huge", "giant"},
    {"small", "little", "tiny"},
    {"grey", "gray", "silver"},
    {"golden", "yellow"},
    {"purple", "violet"},
)


@dataclass
class HardNegatives(Stage):
    """Adds `<of>_negatives`, a list of at most `n` texts that differ from the caption in `of` in what they say, and
    `<of>_negatives_kinds`, what was done to each (KINDS). A caption that the rules find nothing in has empty lists.

    No negative equals its caption (case, articles and white space aside) or another negative. Swaps across a symmetric word
    ("next to", "and") are refused: they mean the same. In the validation file that NegCLIP released, some negatives
    say what their positive says, and others give themselves away by a wrong article.

    of: column with the caption. n: texts at most. kinds: changes that are tried. As NegCLIP (2210.01936) trains.
    """

    version = 2

    of: str = "text"
    n: int = 4
    kinds: tuple[str, ...] = KINDS
    seed: int = 0

    def __post_init__(self):
        self.name = self.name or f"{self.of}_negatives"
        super().__post_init__()
        self.reads, self.kinds = (self.of,), tuple(self.kinds)
        if set(self.kinds) - set(KINDS):
            raise RecipeError(
                f"{self.name}: kinds are {', '.join(KINDS)}; not {', '.join(sorted(set(self.kinds) - set(KINDS)))}"
            )

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.large_string()), f"{self.name}_kinds": pa.list_(pa.large_string())}

    def run(self, live: pa.Table) -> pa.Table:
        rows = [self.negatives(t, u) for t, u in zip(live[self.of].to_pylist(), live["uid"].to_pylist())]
        return pa.table(
            [pa.array([[pair[k] for pair in row] for row in rows], kind) for k, kind in enumerate(self.adds().values())],
            names=list(self.adds()),
        )

    def negatives(self, text: str | None, uid: str = "") -> list[tuple[str, str]]:
        """(negative, kind), different kinds before a second one of the same kind; which ones is a matter of uid and seed."""
        if not text:
            return []
        parsed, seen, found = parse(text), {_plain(text)}, []
        for kind in self.kinds:
            rank = 0
            for made in _shuffled(list(MAKERS[kind](parsed)), uid, self.seed):
                negative = capital_like(with_articles(made, text), text)
                if _plain(negative) not in seen:
                    seen.add(_plain(negative))
                    found.append((rank, negative, kind))
                    rank += 1
        order = sorted(range(len(found)), key=lambda i: (found[i][0], seed_of(f"{uid}{found[i][1]}", self.seed, 0)))
        return [(found[i][1], found[i][2]) for i in order[: self.n]]


def _shuffled(texts: list[str], uid: str, seed: int) -> list[str]:
    return sorted(texts, key=lambda t: seed_of(f"{uid}{t}", seed, 0))


def _plain(text: str) -> str:
    """What two texts must differ in: words without case and articles."""
    return " ".join(w for w in re.findall(r"\w+", text.lower()) if w not in ("a", "an", "the"))


def _replaced(text: str, *changes: tuple[int, int, str]) -> str:
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _head(phrase: Phrase, text: str) -> tuple[int, int]:
    """Where a phrase is without its article; plural and singular keep their own."""
    return phrase.end - len(text[phrase.start : phrase.end][len(phrase.article) :].lstrip()), phrase.end


def swap_objects(parsed: Parsed) -> Iterator[str]:
    """ "a dog on a sofa" -> "a sofa on a dog"."""
    for one, joint, other in zip(parsed.phrases, parsed.joints, parsed.phrases[1:]):
        if joint in RELATIONS and _same(one, other):
            a, b = _head(one, parsed.text), _head(other, parsed.text)
            yield _replaced(parsed.text, (*a, _lower(parsed.text[slice(*b)])), (*b, _lower(parsed.text[slice(*a)])))


def _same(one: Phrase, other: Phrase) -> bool:
    """Both may take the other's place: with articles or both without; a capital without an article may be a name, which would
    show."""
    bare = [p for p in (one, other) if not p.article]
    return len(bare) != 1 and not any(p.noun[0].isupper() for p in bare) and one.noun.lower() != other.noun.lower()


def _lower(text: str) -> str:
    """In the middle of a text a common word begins small; a name keeps its capital only if there are more."""
    return text[0].lower() + text[1:] if text[1:] == text[1:].lower() else text


def swap_attributes(parsed: Parsed) -> Iterator[str]:
    """ "a red car and a blue bike" -> "a blue car and a red bike"; of the same noun it would mean the same."""
    for i, one in enumerate(parsed.phrases):
        for other in parsed.phrases[i + 1 :]:
            if (
                one.attributes
                and other.attributes
                and set(one.attributes) != set(other.attributes)
                and one.noun.lower() != other.noun.lower()
            ):
                a, b = _first(one, parsed.text), _first(other, parsed.text)
                words = parsed.text[slice(*a)], parsed.text[slice(*b)]
                if _group(words[0]) is not None and _group(words[0]) == _group(words[1]) and not _alike(*words):
                    yield _replaced(parsed.text, (*a, words[1].lower()), (*b, words[0].lower()))


def _first(phrase: Phrase, text: str) -> tuple[int, int]:
    """Where a phrase's first attribute is."""
    at = re.compile(rf"\b{re.escape(phrase.attributes[0])}\b", re.I).search(text, phrase.start, phrase.end)
    return at.start(), at.end()


def _group(word: str) -> int | None:
    return next((i for i, group in enumerate(GROUPS) if word.lower() in group), None)


def _alike(one: str, other: str) -> bool:
    return any({one.lower(), other.lower()} <= words for words in LIKE) or one.lower() == other.lower()


def replace_attribute(parsed: Parsed) -> Iterator[str]:
    """ "a red car" -> "a blue car": another word of the same kind that does not mean nearly the same."""
    for phrase in parsed.phrases:
        if phrase.attributes and _group(phrase.attributes[0]) is not None:
            place, word = _first(phrase, parsed.text), phrase.attributes[0]
            for other in GROUPS[_group(word)]:
                if not _alike(word, other):
                    yield _replaced(parsed.text, (*place, other))


def replace_relation(parsed: Parsed) -> Iterator[str]:
    """ "a cat on a box" -> "a cat under a box"."""
    for one, joint, other in zip(parsed.phrases, parsed.joints, parsed.phrases[1:]):
        if joint in OPPOSITE:
            at = re.compile(rf"\b{re.escape(joint)}\b", re.I).search(parsed.text, one.end, other.start)
            yield _replaced(parsed.text, (*at.span(), OPPOSITE[joint]))


def negation(parsed: Parsed) -> Iterator[str]:
    """ "a dog on a sofa" -> "no dog on a sofa"; "a man is running" -> "a man is not running"."""
    for phrase in parsed.phrases:
        if phrase.article.lower() in ("a", "an", "some"):
            yield _replaced(parsed.text, (phrase.start, phrase.start + len(phrase.article), "no"))
    for verb in re.finditer(r"\b(is|are|was|were)\b(?! (not|no)\b)", parsed.text):
        yield _replaced(parsed.text, (verb.end(), verb.end(), " not"))


MAKERS = {
    "swap_objects": swap_objects,
    "swap_attributes": swap_attributes,
    "replace_attribute": replace_attribute,
    "replace_relation": replace_relation,
    "negation": negation,
}
