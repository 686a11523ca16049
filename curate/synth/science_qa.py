"""Questions in ScienceQA's format (2209.09513): `problems.json`, keyed by id, and `pid_splits.json`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curate.errors import PoolError

#: The fields of a problem and what they are when a row does not say.
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


def problem(row: dict[str, Any]) -> dict[str, Any]:
    """One problem with all fields, in their order. PoolError if it cannot be answered: it needs two choices or more, all
    different, and the answer's place among them."""
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


def write(rows: Iterable[dict[str, Any]], folder: Path) -> dict[str, int]:
    """Write both files; returns how many problems each split has. Rows have an `id` (text) of their own and FIELDS, of which
    the first three are needed; `image` is the file name of the picture in the folder of that id, or null."""
    problems: dict[str, Any] = {}
    for row in rows:
        if str(row["id"]) in problems:
            raise PoolError(f"problem {row['id']}: is there twice")
        problems[str(row["id"])] = problem(row)
    splits = {s: [i for i, p in problems.items() if p["split"] == s] for s in SPLITS}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "problems.json").write_text(json.dumps(problems, ensure_ascii=False, indent=1), "utf-8")
    (folder / "pid_splits.json").write_text(
        json.dumps(splits | {"trainval": splits["train"] + splits["val"]}, indent=1), "utf-8"
    )
    return {s: len(ids) for s, ids in splits.items()}
