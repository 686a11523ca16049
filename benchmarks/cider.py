"""CIDEr-D (1411.5726): how much captions agree with references, by n-grams weighted by how rare they are."""

import math
import re
from collections import Counter
from collections.abc import Sequence

#: Longest n-gram; and the width, in words, of the penalty for another length.
LONGEST, SIGMA = 4, 6.0


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def grams(text: str) -> list[Counter]:
    """n-grams of 1 to 4 words with their counts, one counter for each n."""
    tokens = words(text)
    return [Counter(zip(*(tokens[i:] for i in range(n)))) for n in range(1, LONGEST + 1)]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D of captions against their references; 10 if each is its only reference word by word.

    Rarity is that among the references given: what all of them have counts nothing, so that a single pair has 0. No
    stemming: the words as they are. Texts under four words have fewer kinds of n-gram and cannot reach 10; compare only
    values over the same references.
    """
    known = [[grams(r) for r in refs] for refs in references]
    seen: Counter = Counter()
    for refs in known:
        seen.update({g for ref in refs for counts in ref for g in counts})
    total = math.log(len(references))
    rarity = {g: total - math.log(n) for g, n in seen.items()}
    found = [sum(_likeness(grams(c), ref, rarity, total) for ref in refs) / len(refs) for c, refs in zip(captions, known)]
    return 10 * sum(found) / len(found)


def _likeness(one: list[Counter], other: list[Counter], rarity: dict, unseen: float) -> float:
    """Cosine of two texts' n-grams, the first one's counts clipped to the second's, mean over n; less for another length."""
    apart = sum(one[0].values()) - sum(other[0].values())
    likeness = 0.0
    for mine, theirs in zip(one, other):
        a, b = ({g: n * rarity.get(g, unseen) for g, n in counts.items()} for counts in (mine, theirs))
        size = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        likeness += sum(min(a[g], b[g]) * b[g] for g in a.keys() & b.keys()) / size if size else 0.0
    return likeness / LONGEST * math.exp(-apart * apart / (2 * SIGMA * SIGMA))
