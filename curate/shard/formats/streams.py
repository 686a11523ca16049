"""Export of sequences for vision-language models: texts and pictures in order with a model's special tokens, as text, or as token ids
in windows (Flamingo's M3W) or packed to a length (KOSMOS-1, KOSMOS-2, Chameleon)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from curate.documents.windows import flamingo, kosmos, words
from curate.errors import RecipeError
from curate.models.tokenizer import Tokenizer, tokenizer
from curate.selector import coin
from curate.shard.formats.base import Options, json_line, write_parquet
from curate.shard.samples import Samples, ShardSample

#: KOSMOS-2's grid of location tokens: 32 by 32.
GRID = 32


@dataclass(frozen=True)
class Style:
    """A model's sequence format and special tokens.

    begin, end: around a sample. before, mark, after: of a picture; `mark` is repeated `count` times, once for each vector or code that
    replaces it. chunk: before each picture but the first, and at the end (Flamingo). tokens: ids in a row. first: share of
    the pairs whose picture comes first; in the others it is last. windows: a window of each document, instead of packing. grounded:
    phrases are followed by location tokens of their boxes.
    """

    begin: str = ""
    end: str = ""
    before: str = ""
    mark: str = "<image>"
    after: str = ""
    count: int = 1
    chunk: str = ""
    tokens: int = 2048
    first: float = 1.0
    windows: bool = False
    grounded: bool = False

    @property
    def written(self) -> str:
        """The placeholder of a picture in a text, as the model's processor expects it."""
        return f"{self.before}{self.after}" if self.before == self.mark else self.mark


STYLES = {
    # 2204.14198: 256 tokens; OpenFlamingo's names of the tokens
    "m3w": Style(chunk="<|endofchunk|>", tokens=256, windows=True),
    # 2302.14045; tokens and vectors a picture as in KOSMOS-2's configuration
    "kosmos": Style("<s>", "</s>", "<image>", "<image>", "</image>", 64),
    # 2306.14824
    "kosmos2": Style("<s>", "</s>", "<image>", "<image>", "</image>", 64, grounded=True),
    # 2405.09818: 1,024 codes a picture, which comes first in half of the pairs; length and names of the tokens as in transformers
    "chameleon": Style("<s>", "</s>", "<racm3:break>", "<image>", "<eoss>", 1024, tokens=4096, first=0.5),
}

#: An element of a sequence: a text, a special token, or the path of a picture.
Unit = tuple[Literal["text", "token", "image"], str]


def write(style: str, samples: Samples, out: Path, options: Options) -> int:
    """Write a folder with the pictures and the sequences; returns the number of rows.

    Without a tokenizer it has `sequences.jsonl` ({id, text, images}); with one, `sequences.parquet` (`input_ids`; `images`, and
    `image_at`, where the marks of each begin; `starts`, where samples begin) and `tokenizer.json` with the special tokens added.
    """
    how = STYLES[style]
    (out / "images").mkdir(parents=True, exist_ok=True)
    if not options.tokenizer:
        if options.tokens:
            raise RecipeError("--tokens counts the ids of a tokenizer: say which with --tokenizer")
        with open(out / "sequences.jsonl", "w", encoding="utf-8") as file:
            return sum(
                bool(file.write(json_line(_as_text(s.key, units, how)) + "\n"))
                for s, units in _units(samples, how, out, options)
            )
    known = tokenizer(options.tokenizer)
    ids = known.special(_tokens(how))
    size = options.tokens or how.tokens
    sequences = (_token_spans(units, how, known, ids) for _, units in _units(samples, how, out, options, known))
    rows = (row for atoms in sequences for row in packed([atoms], 1 << 30)) if how.windows else packed(sequences, size)
    count = write_parquet(out / "sequences.parquet", ROWS, (row.plain() for row in rows))
    known.save(out / "tokenizer.json")
    return count


def _as_text(key: str, units: list[Unit], how: Style) -> dict[str, Any]:
    text = "".join(how.written if kind == "image" else value for kind, value in units)
    return {"id": key, "text": text, "images": [value for kind, value in units if kind == "image"]}


def _tokens(how: Style) -> list[str]:
    """All special tokens of a style."""
    tokens = [how.begin, how.end, how.before, how.mark, how.after, how.chunk]
    if how.grounded:
        tokens += [GROUNDING, *PHRASE, *OBJECT, SEVERAL, *(place_token(i) for i in range(GRID * GRID))]
    return [t for t in dict.fromkeys(tokens) if t]


# ---- a sample as units


def _units(
    samples: Samples, how: Style, out: Path, options: Options, known: Tokenizer | None = None
) -> Iterator[tuple[ShardSample, list[Unit]]]:
    """Samples with their units; writes the pictures in these. Documents that the rules leave out are skipped."""
    for sample in samples:
        if samples.table == "documents":
            units = _document(sample, how, options, known)
        else:
            units = _pair(sample, how, options)
        for path in (value for kind, value in units if kind == "image"):
            (out / path).write_bytes(sample.read(path.removeprefix(f"images/{sample.key}.")))
        if units:
            whole: list[Unit] = [("token", how.begin), *units, ("token", how.end)]
            yield sample, [u for u in whole if u[1]]


def _pair(sample: ShardSample, how: Style, options: Options) -> list[Unit]:
    """The picture and its caption of a pair; a hash of uid and seed decides which is first."""
    text = sample.caption(options.text)
    caption: list[Unit] = [("text", text)] if text else []
    if how.grounded and sample.info.get("grounding_boxes"):
        caption = grounded(sample.info["text"], sample.info["grounding_boxes"])
    picture: list[Unit] = [("image", f"images/{sample.key}.{sample.picture}")]
    first = how.first if options.first < 0 else options.first
    ahead = coin([sample.info["uid"]], options.seed, "first")[0] < first
    ending: list[Unit] = [("token", how.chunk)]
    return [*(picture + caption if ahead else caption + picture), *ending]


def _document(sample: ShardSample, how: Style, options: Options, known: Tokenizer | None) -> list[Unit]:
    """A document's texts and pictures in page order: a window of it, or its first pictures with all texts; of a text corpus all texts.
    Empty if the rules leave it out."""
    most = options.images or 5
    if how.windows:
        size = options.tokens or how.tokens
        window = flamingo(sample.info, size, most, options.seed, known.spans if known else words)
    elif not any(sample.info["images"]):
        window = sample.info
    else:
        window = kosmos(sample.info, most, options.single, options.seed)
    if window is None:
        return []
    units: list[Unit] = []
    for text, name in zip(window["texts"], window["images"]):
        if name is not None:
            units.extend([("token", how.chunk if units else ""), ("image", f"images/{sample.key}.{name}")])
        else:
            units.append(("text", f"\n{text}" if units and units[-1][0] == "text" else text))
    return [*units, ("token", how.chunk)]


# ---- KOSMOS-2's phrases

GROUNDING, SEVERAL = "<grounding>", "</delimiter_of_multi_objects/>"
PHRASE, OBJECT = ("<phrase>", "</phrase>"), ("<object>", "</object>")


def place_token(index: int) -> str:
    return f"<patch_index_{index:04d}>"


def corner_cells(box: list[float]) -> tuple[int, int]:
    """The grid cells (row-major indices) of the top left and the bottom right corner of a box (x1, y1, x2, y2, shares of width and
    height)."""
    low = [min(math.floor(v * GRID), GRID - 1) for v in box[:2]]
    high = [max(math.ceil(v * GRID - 1), 0) for v in box[2:]]
    return low[1] * GRID + low[0], high[1] * GRID + high[0]


def grounded(text: str, boxes: list[dict[str, Any]]) -> list[Unit]:
    """A caption whose phrases are followed by the location tokens of their boxes."""
    units: list[Unit] = [("token", GROUNDING)]
    at = 0
    for start, end in sorted({(b["start"], b["end"]) for b in boxes}):
        if start < at:
            continue
        units.extend([("text", text[at:start]), ("token", PHRASE[0]), ("text", text[start:end]), ("token", PHRASE[1])])
        corners = [corner_cells(b["box"]) for b in boxes if (b["start"], b["end"]) == (start, end)]
        units.append(("token", OBJECT[0]))
        for n, pair in enumerate(corners):
            units.append(("token", SEVERAL if n else ""))
            units.extend(("token", place_token(i)) for i in pair)
        units.append(("token", OBJECT[1]))
        at = end
    units.append(("text", text[at:]))
    return [u for u in units if u[1]]


# ---- rows of ids

ROWS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("images", pa.list_(pa.large_string())),
        ("image_at", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True)
class TokenSpan:
    """The token ids of a unit. Those of a picture are not divided; mark: the index at which its marks begin."""

    ids: list[int]
    image: str = ""
    mark: int = 0


@dataclass
class TokenRow:
    """A row of token ids, with the pictures in them, where their marks begin, and where samples begin."""

    ids: list[int] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    image_at: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return {"input_ids": self.ids, "images": self.images, "image_at": self.image_at, "starts": self.starts}


def _token_spans(units: list[Unit], how: Style, known: Tokenizer, ids: dict[str, int]) -> list[TokenSpan]:
    picture = [ids[t] for t in (how.before, *[how.mark] * how.count, how.after) if t]
    made = {
        "text": lambda value: TokenSpan(known.ids(value)),
        "token": lambda value: TokenSpan([ids[value]]),
        "image": lambda value: TokenSpan(picture, value, bool(how.before)),
    }
    return [made[kind](value) for kind, value in units]


def packed(sequences: Iterable[list[TokenSpan]], size: int) -> Iterator[TokenRow]:
    """Sequences packed one after the other into rows of `size` ids. A text continues in the next row; a picture is within one row, so a
    row may be shorter. RecipeError if a picture is larger than a row."""
    row = TokenRow()
    for atoms in sequences:
        begins = True
        for atom in atoms:
            ids = atom.ids
            if atom.image and len(ids) > size:
                raise RecipeError(f"a picture has {len(ids)} tokens, and a row {size}: more --tokens are needed")
            while ids:
                room = size - len(row.ids)
                if not room or (atom.image and len(ids) > room):
                    yield row
                    row, room = TokenRow(), size
                if begins:
                    row.starts.append(len(row.ids))
                    begins = False
                if atom.image:
                    row.images.append(atom.image)
                    row.image_at.append(len(row.ids) + atom.mark)
                row.ids += ids[:room]
                ids = ids[room:]
    if row.ids:
        yield row
