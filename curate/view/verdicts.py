"""Annotators' verdicts on a run's samples: read from Label Studio or a table, stored in `RUN/verdicts/`, queried by two views.

Every file that is read becomes one small Parquet file that no run, repair or gc touches. Where one annotator speaks of a row
again, what was read last counts.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import PoolError
from curate.schema import STR, is_uid
from curate.store.atomic import Store

#: The words for a verdict, and what people and programs write for them.
WORDS = {
    "good": {"good", "keep", "yes", "true", "1"},
    "bad": {"bad", "drop", "no", "false", "0"},
    "unsure": {"unsure", "?"},
    "first": {"first"},  # of a pair of answers the better one
    "second": {"second"},
}
_VERDICT = {word: verdict for verdict, words in WORDS.items() for word in words}

JUDGEMENTS = pa.schema(
    [
        ("uid", STR),
        ("verdict", STR),  # good, bad or unsure; of a pair first, second or unsure
        ("annotator", STR),  # the annotator; the file's name where the file does not tell
        ("reason", STR),  # the rules that ought to have dropped a bad row, blanks between; null: not stated
        ("comment", STR),
        ("weight", pa.float64()),  # rows of the pool that a row drawn at random stands for; null: it was not drawn at random
        ("file", STR),  # the file's name
        ("import", pa.int32()),
        ("row", pa.int32()),  # place in the file, from 1
    ]
)


def views(scanned: str | None) -> Iterator[str]:
    """SQL that creates `judgements` and `verdicts`; `scanned` reads the files, None where there are none."""
    nothing = ", ".join(
        f'null::{"varchar" if k == STR else "double" if k == pa.float64() else "int"} as "{n}"'
        for n, k in zip(JUDGEMENTS.names, JUDGEMENTS.types)
    )
    yield f"create view judgements as select * from {scanned or f'(select {nothing} where false)'}" + (
        ' qualify row_number() over (partition by uid, annotator order by "import" desc, file desc, row desc) = 1'
    )
    count = lambda word: f"count(*) filter (verdict = '{word}')"  # noqa: E731
    yield f"""create view verdicts as select uid,
        case when {count("good")} > {count("bad")} then 'good' when {count("bad")} > {count("good")} then 'bad' end as verdict,
        {", ".join(f"{count(w)} as {w}" for w in WORDS)}, string_agg(distinct reason, ' ' order by reason) filter (verdict = 'bad') as reason,
        string_agg(distinct comment, '; ' order by comment) as comment, min(weight) as weight from judgements group by uid"""


def keep(store: Store, path: str) -> pa.Table:
    """Read a file of verdicts into the run; returns its judgements. A file that was the last to be read changes nothing."""
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise PoolError(f"{path}: cannot be read: {e.strerror or e}") from e
    found, there = judgements(data, path), store.names("verdicts")
    digest = hashlib.sha256(f"{Path(path).name}\0".encode() + data).hexdigest()[:12]
    if there and there[-1].endswith(f"-{digest}.parquet"):
        return found
    number = 1 + (int(there[-1].split("-")[0]) if there else 0)
    table = found.set_column(
        found.column_names.index("import"), JUDGEMENTS.field("import"), pa.array([number] * len(found), pa.int32())
    )
    store.commit_table(f"verdicts/{number:06d}-{digest}.parquet", table)
    return found


def judgements(data: bytes, path: str) -> pa.Table:
    """The judgements of a file: Label Studio's JSON, JSON-MIN or CSV, or the CSV that `curate annotate` wrote, filled in.

    Rows without a verdict are passed over. PoolError names file, row and cause.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise PoolError(f"{path}: is not UTF-8 (byte {e.start}); save it as CSV UTF-8 or as JSON") from e
    rows = _json(text, path) if text.lstrip()[:1] in ("[", "{") else _csv(text, path)
    made = [_judgement(row, number, path) for number, row in rows]
    return pa.Table.from_pylist([m for m in made if m], JUDGEMENTS)


def _csv(text: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table; some spreadsheets put semicolons or tabs in place of commas."""
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        missing = [c for c in ("uid", "verdict") if c not in (reader.fieldnames or [])]
        if missing:
            raise PoolError(
                f"{path}: has no column {' and no column '.join(missing)}; it has {', '.join(reader.fieldnames or ['nothing'])}"
            )
        yield from enumerate(reader, 1)
    except csv.Error as e:
        raise PoolError(f"{path}: line {reader.line_num}: {e}") from e


def _json(text: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The annotations of Label Studio's tasks. In JSON-MIN a task is one flat annotation."""
    try:
        tasks = json.loads(text)
    except ValueError as e:
        raise PoolError(f"{path}: is not JSON: {e}") from e
    tasks = tasks if isinstance(tasks, list) else [tasks]
    for number, task in enumerate(tasks, 1):
        if not isinstance(task, dict):
            raise PoolError(f"{path}: task {number}: is no task of Label Studio")
        if "annotations" not in task:
            if "data" not in task:
                yield number, {**task, **{n: _chosen(task.get(n)) for n in ("verdict", "reason", "comment")}}
            continue
        try:
            for annotation in sorted(task["annotations"], key=lambda a: str(a.get("updated_at") or a.get("created_at") or "")):
                if not annotation.get("was_cancelled"):
                    yield (
                        number,
                        {**task["data"], **_result(annotation["result"]), "annotator": _who(annotation.get("completed_by"))},
                    )
        except (KeyError, TypeError, AttributeError) as e:
            raise PoolError(f"{path}: task {number}: is no task of Label Studio ({type(e).__name__}: {e})") from e


def _result(result: list[dict[str, Any]]) -> dict[str, str]:
    """What an annotation says, by the names of the form's fields."""
    answers = {"verdict": "", "reason": "", "comment": ""}
    for item in result:
        if item["from_name"] in answers:
            answers[item["from_name"]] = _chosen(item["value"].get("choices", item["value"].get("text")))
    return answers


def _chosen(value: Any) -> str:
    value = value.get("choices", value.get("text")) if isinstance(value, dict) else value
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _who(user: Any) -> str:
    """An annotator's e-mail address, or else number."""
    return str((user.get("email") or user.get("id") or "") if isinstance(user, dict) else "" if user is None else user)


def _judgement(row: dict[str, Any], number: int, path: str) -> dict[str, Any] | None:
    word, uid = str(row.get("verdict") or "").strip().lower(), str(row.get("uid") or "").strip()
    if not word:
        return None
    if word not in _VERDICT:
        raise PoolError(f"{path}: row {number}: the verdict {word[:40]!r} is none of {', '.join(WORDS)}")
    if not is_uid(uid):
        raise PoolError(f"{path}: row {number}: the uid {uid[:40]!r} is not 32 hex digits")
    rules = sorted(set(re.split(r"[\s,;]+", str(row.get("reason") or "").strip())) - {""})
    return {
        "uid": uid,
        "verdict": _VERDICT[word],
        "annotator": str(row.get("annotator") or "").strip() or Path(path).stem,
        "reason": " ".join(rules) or None,
        "comment": str(row.get("comment") or "").strip() or None,
        "weight": _weight(row.get("weight"), number, path),
        "file": Path(path).name,
        "import": 0,
        "row": number,
    }


def _weight(value: Any, number: int, path: str) -> float | None:
    if value is None or not str(value).strip():
        return None
    try:
        found = float(str(value).replace(",", "."))
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise PoolError(f"{path}: row {number}: the weight {str(value)[:40]!r} is no positive number")
    return found
