"""Filter of captions that lack parts of speech."""

import copy
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import RecipeError
from curate.filters import paragraph_ratios
from curate.models import file_sha256, weights_file
from curate.sources.lines import lines, words
from curate.stage import Filter

#: English words of closed classes.
CLOSED = {
    "determiner": frozenset(
        (
            "a an the this that these those some any each every no all both few many much several either neither another "
            "such what which whose my your his her its our their one two three four five six seven eight nine ten dozen "
            "half"
        ).split()
    ),
    "preposition": frozenset(
        (
            "about above across after against along alongside amid among around as at atop before behind below beneath "
            "beside besides between beyond by down during for from in inside into near next of off on onto opposite out "
            "outside over past per through throughout to toward towards under underneath up upon via with within without"
        ).split()
    ),
}
#: Frequent English words of other classes, which are no nouns.
_OTHER = frozenset(
    (
        "and or but nor so yet if because while although though than then when where who whom how why i you he she it we "
        "they me him them us myself yourself himself herself itself ourselves themselves is am are was were be been being "
        "has have had having do does did done will would shall should can could may might must not very too also just "
        "only here there now never always often again still already almost quite rather perhaps maybe good bad big small "
        "large little great old new young long short high low tall wide white black red green blue yellow brown grey gray "
        "pink purple orange golden happy sad beautiful pretty nice cute lovely bright dark hot cold warm cool dry wet "
        "open closed full empty free best better other own same different get gets got getting make makes made making "
        "take takes took taken taking go goes went gone going come comes came coming see sees saw seen look looks looked "
        "looking sit sits sat sitting stand stands stood standing wear wears wore wearing hold holds held holding eat "
        "eats ate eating play plays played playing run runs ran running walk walks walked walking show shows showed shown "
        "showing please click"
    ).split()
)
#: Nouns in -ly; the other words in -ly are adverbs, and adjectives.
_NOUNS_IN_LY = frozenset(
    (
        "ally anomaly assembly belly billy blackfly blowfly bully butterfly damselfly doily dolly dragonfly family filly firefly "
        "fly folly fruitfly gadfly greenfly grizzly gully hillbilly holly homily horsefly housefly italy jelly july lily mayfly "
        "melancholy monopoly panoply ply potbelly rally reply sandfly sawfly supply tally underbelly waterlily whitefly"
    ).split()
)
PARTS = ("noun", *CLOSED)


@dataclass
class PartsOfSpeech(Filter):
    """How many of the `needs` (noun, determiner, preposition) do not occur in the caption; 0 passes. English.

    CC3M needs all three, CC12M noun and determiner (2102.08981), SBU a preposition, COYO a noun. Those pipelines ran a
    tagger; this looks words up: determiners and prepositions are closed lists. A noun is a word in the list `nouns` (a file
    with one a line; WordNet's `index.noun` has the form), also without a plural's -s; without a list any word of three
    letters and more that is not in a closed class, no frequent word of another class and no adverb in -ly.

    needs: classes that must occur. nouns: file with a noun a line; empty: by rule.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "classes missing"
    max: float | None = 0
    version = 4

    needs: tuple[str, ...] = ("noun", "determiner")
    nouns: str = ""

    def __post_init__(self):
        super().__post_init__()
        self.needs = tuple(self.needs)
        if not self.needs or set(self.needs) - set(PARTS):
            raise RecipeError(f"{self.name}: needs is some of {', '.join(PARTS)}, not {', '.join(self.needs) or 'nothing'}")

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.nouns)))}"} if self.nouns else {}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        file = str(weights_file(self.name, self.nouns)) if self.nouns else ""
        listed = lines(file) if file and words(self.name, file) else []
        self._nouns = frozenset(w for line in listed if line[:1].strip() for w in paragraph_ratios.words(line.split()[0]))

    def run(self, live: pa.Table) -> pa.Table:
        found = (None if t is None else set(paragraph_ratios.words(t)) for t in live["text"].to_pylist())
        return pa.table(
            {
                self.name: pa.array(
                    [None if w is None else sum(not self.has(part, w) for part in self.needs) for w in found], self.dtype
                )
            }
        )

    def has(self, part: str, words: set[str]) -> bool:
        return not words.isdisjoint(CLOSED[part]) if part in CLOSED else any(map(self.noun, words))

    def noun(self, word: str) -> bool:
        if any(word in listed for listed in CLOSED.values()):
            return False
        if self._nouns:
            return word in self._nouns or word.removesuffix("s") in self._nouns or word.removesuffix("es") in self._nouns
        return len(word) > 2 and word.isalpha() and word not in _OTHER and (not word.endswith("ly") or word in _NOUNS_IN_LY)
