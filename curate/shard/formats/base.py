"""What a format of `curate export` is, and the files that formats are made of: JSON lines, JSON lists, Parquet, tab-separated
text, tars, and folders with the pictures beside them."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import PoolError, RecipeError
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import Resize
from curate.shard.samples import Samples, ShardSample
from curate.store.payload import tar_header

#: Rows of a row group.
GROUP = 1000


@dataclass(frozen=True)
class Options:
    """What a caller may choose about a format.

    text: the column that is the caption ("": the `.txt` that trains; `every`, where a format takes several: all texts of which
    Mix draws one). turns: the column with conversations, or with preferences
    ("": the only one there is). tokenizer: a `tokenizer.json`, its folder, or a name. tokens: ids in a row. images: pictures in a
    window or of a document. single: share of the documents with one picture that stay (KOSMOS-1: 0.5). first: share of the pairs whose
    picture comes first (-1: the model's own). seed: of draws.
    """

    text: str = ""
    turns: str = ""
    tokenizer: str = ""
    tokens: int = 0
    images: int = 0
    single: float = 1.0
    first: float = -1.0
    seed: int = 0

    def given(self) -> list[str]:
        """The names of those that were chosen."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]


#: A row of a format, made of a sample, or several; None leaves the sample out.
RowOf = Callable[[ShardSample, Options], dict[str, Any] | list[dict[str, Any]] | None]
#: Writes samples to a path; returns how many rows.
Write = Callable[[Samples, Path, Options], int]


@dataclass(frozen=True)
class Format:
    """about: what it writes, in a line. write: the writer. samples: the table whose samples it takes (images, documents, or empty for
    either). folder: it is a folder, not a file. shards: it is made of shards. takes: the options that it knows. ledger: columns that it reads of the ledger."""

    about: str
    write: Write
    samples: str = "images"
    folder: bool = False
    shards: bool = True
    takes: tuple[str, ...] = ()
    ledger: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self, name: str, options: Options) -> None:
        """RecipeError if an option is given that the format does not know."""
        for option in options.given():
            if option not in self.takes:
                known = ", ".join(f"--{t}" for t in self.takes) or "none"
                raise RecipeError(f"{name} does not take --{option}; it takes {known}")


def rows_of(samples: Samples, row: RowOf, options: Options) -> Iterator[tuple[ShardSample, dict[str, Any]]]:
    """Samples with their rows; those without one are left out."""
    for sample in samples:
        made = row(sample, options)
        for each in made if isinstance(made, list) else [made] if made is not None else []:
            yield sample, each


# ---- one file


def json_lines(row: RowOf) -> Write:
    """A file with an object a line."""
    return partial(_json_lines, row)


def _json_lines(row: RowOf, samples: Samples, out: Path, options: Options) -> int:
    with open(out, "w", encoding="utf-8") as file:
        return sum(bool(file.write(spelled(made) + "\n")) for _, made in rows_of(samples, row, options))


def spelled(value: Any) -> str:
    """A value as JSON on a line."""
    return json.dumps(value, ensure_ascii=False)


def parquet(schema: pa.Schema, row: RowOf, group: int = GROUP) -> Write:
    """A Parquet file."""
    return partial(_parquet, schema, row, group)


def _parquet(schema: pa.Schema, row: RowOf, group: int, samples: Samples, out: Path, options: Options) -> int:
    return write_parquet(out, schema, (made for _, made in rows_of(samples, row, options)), group)


def write_parquet(out: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]], size: int = GROUP) -> int:
    """Rows as a Parquet file, with `size` rows of a group in memory; returns how many."""
    count, group = 0, []
    with pq.ParquetWriter(out, schema, compression="zstd") as file:
        for row in rows:
            group.append(row)
            if len(group) == size:
                file.write_table(pa.Table.from_pylist(group, schema))
                count, group = count + len(group), []
        file.write_table(pa.Table.from_pylist(group, schema))
    return count + len(group)


def tab_separated(columns: tuple[str, ...], row: RowOf, header: bool) -> Write:
    """A file with tabs between the columns; white space within a text becomes a blank."""
    return partial(_tab_separated, columns, row, header)


def _tab_separated(columns: tuple[str, ...], row: RowOf, header: bool, samples: Samples, out: Path, options: Options) -> int:
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if header:
            writer.writerow(columns)
        return sum(bool(writer.writerow([_cell(made[c]) for c in columns])) for _, made in rows_of(samples, row, options))


def _cell(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else str(value)


# ---- folders


@dataclass(frozen=True)
class Pictures:
    """How a folder has its pictures: below `folder`, as they are, or all as JPEG for trainers that look for `.jpg` alone."""

    folder: str = "images"
    jpeg: bool = False

    def path(self, sample: ShardSample) -> str:
        """`images/<key>.png`: with the ending of what it is."""
        return f"{self.folder}/{sample.key}.{'jpg' if self.jpeg else sample.picture}"


def with_pictures(file: str, row: RowOf, pictures: Pictures = Pictures(), wrap: tuple[str, str] = ("[", "]")) -> Write:
    """A folder with a JSON list (between the texts of `wrap`), and the pictures of the samples in it."""
    return partial(_with_pictures, file, row, pictures, wrap)


def _with_pictures(
    file: str, row: RowOf, pictures: Pictures, wrap: tuple[str, str], samples: Samples, out: Path, options: Options
) -> int:
    count = 0
    (out / pictures.folder).mkdir(parents=True, exist_ok=True)
    with open(out / file, "w", encoding="utf-8") as listed, Isolated() as child:
        listed.write(wrap[0])
        for sample, made in rows_of(samples, row, options):
            data = as_jpeg(sample, child) if pictures.jpeg else sample.read(sample.picture)
            (out / pictures.path(sample)).write_bytes(data)
            listed.write((",\n" if count else "\n") + spelled(made))
            count += 1
        listed.write(f"\n{wrap[1]}\n")
    return count


#: The members of a sample of a tar, by suffix.
MembersOf = Callable[[ShardSample, Options, Isolated], dict[str, bytes]]


def tars(members: MembersOf) -> Write:
    """A folder with a tar for each shard, of samples with these members."""
    return partial(_tars, members)


def _tars(members: MembersOf, samples: Samples, out: Path, options: Options) -> int:
    with Isolated() as child:
        return write_tars(samples, out, lambda sample: members(sample, options, child))


def write_tars(samples: Samples, out: Path, members: Callable[[ShardSample], dict[str, bytes]]) -> int:
    """A tar for each shard, with the members of each sample; returns how many samples."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for shard in samples.shards:
        with open(out / f"{shard}.tar", "wb") as file:
            for sample in replace(samples, shards=[shard]):
                for suffix, data in members(sample).items():
                    file.write(tar_header(f"{sample.key}.{suffix}", len(data)) + data + b"\0" * (-len(data) % 512))
                count += 1
            file.write(b"\0" * 1024)
    return count


def as_jpeg(sample: ShardSample, child: Isolated) -> bytes:
    """A pair's picture as JPEG: the file itself where it is one, else encoded anew (on white, upright, quality 95). PoolError where
    that cannot be done."""
    data = sample.read(sample.picture)
    if sample.picture == "jpg":
        return data
    outcome, _, _, made = child.resize(Resize("no"), data)
    if outcome != "ok":
        raise PoolError(f"shard {sample.shard}: the picture of {sample.key} cannot be written as JPEG: {outcome}")
    return made
