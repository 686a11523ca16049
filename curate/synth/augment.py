"""Augmentations of texts and of pictures, drawn by the hash of the uid and recorded: what was done to each is a column."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.models import file_sha256
from curate.selector import coin
from curate.sources.wordnet import database_file, nouns, synonyms
from curate.stage import Stage
from curate.synth.captioners.base import seed_of
from curate.synth.wordnet_links import NOT_NOUNS

# ---- texts

TEXT_KINDS = ("synonym", "insert", "swap", "delete")


@dataclass
class AugmentText(Stage):
    """Adds `<of>_augmented`, `n` variants of a text by the rules of EDA (1901.11196), as DeCLIP (2110.05208) trains with beside the
    caption, and `<of>_augmented_kinds`, which rule made each. A text of less than two words has none.

    kinds: `synonym` (nouns by another word of their first sense in WordNet), `insert` (such a word, anywhere), `swap` (two words),
    `delete`. share: of the words that change, one at least. wordnet: folder of WordNet's database; without it there are only
    the last two kinds.
    """

    of: str = "text"
    n: int = 4
    kinds: tuple[str, ...] = ("swap", "delete")
    share: float = 0.1
    wordnet: str = ""
    seed: int = 0
    version = 2
    untracked = ("wordnet",)

    def __post_init__(self):
        self.name = self.name or f"{self.of}_augmented"
        super().__post_init__()
        self.reads, self.kinds = (self.of,), tuple(self.kinds)
        unknown = set(self.kinds) - set(TEXT_KINDS)
        if unknown or not self.kinds:
            raise RecipeError(f"{self.name}: kinds are {', '.join(TEXT_KINDS)}; not {', '.join(sorted(unknown)) or 'none'}")
        if {"synonym", "insert"} & set(self.kinds) and not self.wordnet:
            raise RecipeError(f"{self.name}: synonym and insert need the folder of WordNet's database: wordnet=")

    def weights(self) -> dict[str, str]:
        files = ("index.noun", "data.noun") if self.wordnet else ()
        return {name: f"sha256:{file_sha256(str(database_file(self.wordnet, name)))}" for name in files}

    def load(self) -> None:
        self._nouns = nouns(self.wordnet) if self.wordnet else None

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(pa.large_string()), f"{self.name}_kinds": pa.list_(pa.large_string())}

    def run(self, live: pa.Table) -> pa.Table:
        rows = [self.variants(t, u) for t, u in zip(live[self.of].to_pylist(), live["uid"].to_pylist())]
        lists = [[pair[k] for pair in row] for k in (0, 1) for row in rows]
        texts, kinds = lists[: len(rows)], lists[len(rows) :]
        return pa.table([pa.array(v, t) for v, t in zip((texts, kinds), self.adds().values())], names=list(self.adds()))

    def variants(self, text: str | None, uid: str) -> list[tuple[str, str]]:
        """(variant, kind), the kinds in turn; fewer than n where a rule changes nothing."""
        words = (text or "").split()
        if len(words) < 2:
            return []
        found: dict[str, str] = {}
        for turn in range(self.n):
            kind = self.kinds[turn % len(self.kinds)]
            draw = np.random.Generator(np.random.PCG64(seed_of(uid, self.seed, turn)))
            made = " ".join(self._changed(kind, words, draw))
            if made != " ".join(words):
                found.setdefault(made, kind)
        return list(found.items())

    def _changed(self, kind: str, words: list[str], draw: np.random.Generator) -> list[str]:
        """The words after as many changes of a kind as `share` asks for."""
        words, times = list(words), max(1, round(self.share * len(words)))
        for _ in range(times):
            at = int(draw.integers(len(words)))
            if kind == "swap":
                other = (at + 1 + int(draw.integers(len(words) - 1))) % len(words)
                words[at], words[other] = words[other], words[at]
            elif kind == "delete":
                words = words[:at] + words[at + 1 :] if len(words) > 1 else words
            else:
                words = self._with_synonym(kind, words, draw)
        return words

    def _with_synonym(self, kind: str, words: list[str], draw: np.random.Generator) -> list[str]:
        """A noun replaced by a synonym, or the synonym of one put in anywhere; the same words where WordNet knows none."""
        for at in draw.permutation(len(words)).tolist():
            word = words[at].lower()
            lemma = self._nouns.lemma(word) if word.isalpha() and word not in NOT_NOUNS else None
            if lemma and (others := synonyms(lemma, self.wordnet)):
                other = others[int(draw.integers(len(others)))]
                place = at if kind == "synonym" else int(draw.integers(len(words) + 1))
                return [*words[:place], other, *words[place + (kind == "synonym") :]]
        return words


# ---- pictures

#: What is done to a picture, in this order: a crop (edges as shares of width and height), a mirror, factors of brightness, contrast
#: and saturation, grey, and a blur (sigma as a share of the width).
VIEW = pa.struct(
    [
        *((edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1")),
        ("mirrored", pa.bool_()),
        *((factor, pa.float32()) for factor in ("brightness", "contrast", "saturation")),
        ("grey", pa.bool_()),
        ("blur", pa.float32()),
    ]
)


@dataclass
class AugmentImage(Stage):
    """Adds `augment_image`, `n` views of each picture: the crop, mirror, colours and blur that a view has (VIEW). The shards keep the
    picture as it is: `curate export --format views` makes the views, each a member of its own.

    SimCLR's augmentations (2002.05709) as SLIP (2112.12750) and DeCLIP (2110.05208) use them beside CLIP's loss: crop: least share of the
    area (SLIP: 0.5 for the picture beside its text, 0.08 for the views without one). jitter: brightness, contrast and saturation change
    by up to this share, in 80 % of the views. grey, blur: in this share of the views. mirror: a mirrored text is no text any more, so 0 for pictures with writing.
    """

    reads = ("width", "height")

    n: int = 2
    crop: float = 0.5
    mirror: float = 0.5
    jitter: float = 0.4
    grey: float = 0.2
    blur: float = 0.5
    seed: int = 0

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(VIEW)}

    def run(self, live: pa.Table) -> pa.Table:
        uids = live["uid"].to_pylist()
        draws = [{what: coin(uids, self.seed, f"{self.name}:{turn}:{what}") for what in DRAWS} for turn in range(self.n)]
        rows = [[self._view({k: float(v[i]) for k, v in draw.items()}) for draw in draws] for i in range(len(uids))]
        return pa.table({self.name: pa.array(rows, pa.list_(VIEW))})

    def _view(self, draw: dict[str, float]) -> dict:
        """A view from numbers in [0, 1)."""
        side = (self.crop + (1 - self.crop) * draw["area"]) ** 0.5
        stretch = (3 / 4 + (4 / 3 - 3 / 4) * draw["shape"]) ** 0.5
        wide, high = min(1.0, side * stretch), min(1.0, side / stretch)
        x0, y0 = draw["left"] * (1 - wide), draw["top"] * (1 - high)
        strength = self.jitter if draw["coloured"] < 0.8 else 0.0
        return {
            **{"x0": x0, "y0": y0, "x1": x0 + wide, "y1": y0 + high},
            "mirrored": draw["mirrored"] < self.mirror,
            **{factor: 1 + strength * (2 * draw[factor] - 1) for factor in ("brightness", "contrast", "saturation")},
            "grey": draw["grey"] < self.grey,
            "blur": (0.1 + 1.9 * draw["sigma"]) / 224 if draw["blurred"] < self.blur else 0.0,
        }


DRAWS = (
    *("area", "shape", "left", "top", "mirrored", "coloured", "brightness", "contrast", "saturation", "grey"),
    *("sigma", "blurred"),
)
