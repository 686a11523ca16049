"""Export in ScienceQA's format (2209.09513): `problems.json`, keyed by id, `pid_splits.json`, and `images/<split>/<id>/image.png`."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import PoolError
from curate.paths import escaped
from curate.select.database import database
from curate.selector import coin
from curate.shard.formats.base import Options
from curate.shard.samples import BATCH, Samples, ShardSample
from curate.store.atomic import Store

#: The fields of a problem and their defaults.
FIELDS: dict[str, Any] = {
    "question": None,
    "choices": None,
    "answer": None,
    "hint": "",
    "image": None,
    "task": "closed choice",
    "grade": "",
    "subject": "",
    "topic": "",
    "category": "",
    "skill": "",
    "lecture": "",
    "solution": "",
    "split": "train",
}
SPLITS = ("train", "val", "test")
#: Share of a split in its small version, `minitrain` and so on. The published file has such splits too; how they were drawn is not
#: published.
MINI = 0.1
NAME = re.compile(r"[\w-]+")


def problem(row: dict[str, Any]) -> dict[str, Any]:
    """A problem with all fields, in order. PoolError if it cannot be answered: it needs two or more distinct choices, and the index of
    the answer among them."""
    made = {k: row.get(k) if row.get(k) is not None else default for k, default in FIELDS.items()}
    choices, answer, where = made["choices"] or [], made["answer"], f"problem {row.get('id')}"
    if not made["question"]:
        raise PoolError(f"{where}: no question")
    if len(choices) < 2 or len(set(choices)) != len(choices):
        raise PoolError(f"{where}: choices are {choices}; two or more are wanted, all different")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise PoolError(f"{where}: answer {answer!r} is not the place of one of {len(choices)} choices")
    if made["split"] not in SPLITS:
        raise PoolError(f"{where}: split {made['split']} is not one of {', '.join(SPLITS)}")
    return made


#: SQL: questions without a picture. They are not in the shards: their rows have no URL, and were dropped only for that.
TEXT_ONLY = """select columns(lambda name: name in $wanted) from read_parquet($files, union_by_name = true, hive_partitioning = false)
    where drop_reason = 'fetch:bad_url' and coalesce(trim(url), '') = '' and source_question is not null
    order by source_file, source_row"""


def write(samples: Samples, out: Path, options: Options) -> int:
    """Write the folder for a run whose input has ScienceQA's columns (`source_question`, `source_choices` …; a list may be JSON text).

    It has a problem for each sample, and for each row of the ledger with a question and no URL (`image` is null), under the value of
    the input's column `id`, else the sample's key. Returns the number of problems.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = itertools.chain((_problem_with_picture(sample, out) for sample in samples), text_only_problems(samples.store))
    return write_problems(rows, out, options.seed)


def text_only_problems(store: Store) -> Iterator[dict[str, Any]]:
    """Problems of the ledger's rows that have a question and no URL."""
    files = [f"ledger/images/{name}" for name in store.names("ledger/images")]
    if not files or "source_question" not in store.fields(files[0]).names:
        return
    wanted = ["uid", *(f"source_{name}" for name in ("id", *FIELDS))]
    with database(store) as (con, _):
        found = con.sql(TEXT_ONLY, params={"wanted": wanted, "files": [escaped(store.path(f)) for f in files]})
        for batch in found.to_arrow_reader(BATCH):
            yield from (_row(info, info["uid"], None) for info in batch.to_pylist())


def _row(info: Mapping[str, Any], key: str, image: str | None) -> dict[str, Any]:
    """A problem from the input's columns. PoolError if its id cannot be the name of a folder."""
    fields = {name: info.get(f"source_{name}") for name in ("id", *FIELDS)}
    choices, number = fields["choices"], key if fields["id"] is None else fields["id"]
    if not NAME.fullmatch(str(number)):
        raise PoolError(f"problem {number!r}: an id is the name of a folder: letters, digits, `_` and `-`")
    return {**fields, "id": number, "choices": json.loads(choices) if isinstance(choices, str) else choices, "image": image}


def _problem_with_picture(sample: ShardSample, out: Path) -> dict[str, Any]:
    """The problem of a sample; writes its picture."""
    row = _row(sample.info, sample.key, f"image.{sample.picture}")
    folder = out / "images" / problem(row)["split"] / str(row["id"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / row["image"]).write_bytes(sample.read(sample.picture))
    return row


def write_problems(rows: Iterable[dict[str, Any]], folder: Path, seed: int = 0) -> int:
    """Write both JSON files; returns the number of problems. Rows have a unique `id` and FIELDS, of which the first three are required;
    `image` is the file name of the picture in the folder of that id, or null."""
    problems: dict[str, Any] = {}
    for row in rows:
        if str(row["id"]) in problems:
            raise PoolError(f"problem {row['id']}: is there twice")
        problems[str(row["id"])] = problem(row)
    splits = {s: [i for i, p in problems.items() if p["split"] == s] for s in SPLITS}
    small = {f"mini{s}": [i for i, c in zip(ids, coin(ids, seed, "mini")) if c < MINI] for s, ids in splits.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "problems.json").write_text(json.dumps(problems, ensure_ascii=False, indent=1), "utf-8")
    every = splits | {"trainval": splits["train"] + splits["val"]} | small
    (folder / "pid_splits.json").write_text(json.dumps(every, indent=1), "utf-8")
    return len(problems)
