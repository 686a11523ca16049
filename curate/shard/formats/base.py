"""The interface of a format of `curate export`, and its writers: JSON lines, Parquet, tab-separated text, tars, and folders with a JSON
list and pictures."""

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
    """The options of `curate export`.

    text: the column that is the caption ("": the `.txt`; `every`, where a format takes several: all texts of which
    Mix draws one). turns: the column with conversations, or with preferences
    ("": the only one there is). tokenizer: a `tokenizer.json`, its folder, or a name. tokens: ids in a row. images: pictures in a
    window or of a document. single: share of the documents with one picture that are kept (KOSMOS-1: 0.5). first: share of the pairs
    whose picture comes first (-1: the model's own). seed: of random draws.
    """

    text: str = ""
    turns: str = ""
    tokenizer: str = ""
    tokens: int = 0
    images: int = 0
    single: float = 1.0
    first: float = -1.0
    seed: int = 0

    def chosen(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]


#: Converts a sample to a row of a format, or several; None leaves the sample out.
RowOf = Callable[[ShardSample, Options], dict[str, Any] | list[dict[str, Any]] | None]
#: Writes samples to a path; returns the number of rows.
Write = Callable[[Samples, Path, Options], int]


@dataclass(frozen=True)
class Format:
    """A format of `curate export`.

    about: a line of description. write: the writer. samples: the table whose samples it takes (images, documents, or empty for
    either). folder: it writes a folder, not a file. shards: it needs shards. takes: the options that it takes. ledger: columns that it
    reads from the ledger, by table.
    """

    about: str
    write: Write
    samples: str = "images"
    folder: bool = False
    shards: bool = True
    takes: tuple[str, ...] = ()
    ledger: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self, name: str, options: Options) -> None:
        """RecipeError if an option is set that the format does not take."""
        for option in options.chosen():
            if option not in self.takes:
                known = ", ".join(f"--{t}" for t in self.takes) or "none"
                raise RecipeError(f"{name} does not take --{option}; it takes {known}")


def rows_of(samples: Samples, row: RowOf, options: Options) -> Iterator[tuple[ShardSample, dict[str, Any]]]:
    """Each sample with each of its rows; samples without a row are left out."""
    for sample in samples:
        made = row(sample, options)
        for item in made if isinstance(made, list) else [made] if made is not None else []:
            yield sample, item


# ---- one file


def json_lines(row: RowOf) -> Write:
    """The writer of a file with a JSON object a line."""
    return partial(_json_lines, row)


def _json_lines(row: RowOf, samples: Samples, out: Path, options: Options) -> int:
    with open(out, "w", encoding="utf-8") as file:
        return sum(bool(file.write(json_line(made) + "\n")) for _, made in rows_of(samples, row, options))


def json_line(value: Any) -> str:
    """A value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def parquet(schema: pa.Schema, row: RowOf, group: int = GROUP) -> Write:
    """The writer of a Parquet file. group: rows of a row group."""
    return partial(_parquet, schema, row, group)


def _parquet(schema: pa.Schema, row: RowOf, group: int, samples: Samples, out: Path, options: Options) -> int:
    return write_parquet(out, schema, (made for _, made in rows_of(samples, row, options)), group)


def write_parquet(out: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]], size: int = GROUP) -> int:
    """Write rows to a Parquet file in row groups of `size`; returns their number."""
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
    """The writer of a tab-separated file; white space within a text becomes a space."""
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
    """The pictures of an exported folder: below `folder`, unchanged, or all as JPEG for trainers that only read `.jpg`."""

    folder: str = "images"
    jpeg: bool = False

    def path(self, sample: ShardSample) -> str:
        """The path of a sample's picture, such as `images/<key>.png`."""
        return f"{self.folder}/{sample.key}.{'jpg' if self.jpeg else sample.picture}"


def with_pictures(file: str, row: RowOf, pictures: Pictures = Pictures(), wrap: tuple[str, str] = ("[", "]")) -> Write:
    """The writer of a folder with a JSON list (between the texts of `wrap`) and the pictures of its samples."""
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
            listed.write((",\n" if count else "\n") + json_line(made))
            count += 1
        listed.write(f"\n{wrap[1]}\n")
    return count


#: Builds the members of a sample of a tar, by suffix.
MembersOf = Callable[[ShardSample, Options, Isolated], dict[str, bytes]]


def tars(members: MembersOf) -> Write:
    """The writer of a folder with a tar for each shard, of samples with these members."""
    return partial(_tars, members)


def _tars(members: MembersOf, samples: Samples, out: Path, options: Options) -> int:
    with Isolated() as child:
        return write_tars(samples, out, lambda sample: members(sample, options, child))


def write_tars(samples: Samples, out: Path, members: Callable[[ShardSample], dict[str, bytes]]) -> int:
    """Write a tar for each shard with the members of each sample; returns the number of samples."""
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
    """A pair's picture as JPEG: the file itself if it is one, else re-encoded (on white, upright, quality 95). PoolError if that
    fails."""
    data = sample.read(sample.picture)
    if sample.picture == "jpg":
        return data
    outcome, _, _, made = child.resize(Resize("no"), data)
    if outcome != "ok":
        raise PoolError(f"shard {sample.shard}: the picture of {sample.key} cannot be written as JPEG: {outcome}")
    return made
