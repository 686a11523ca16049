"""Evaluation of a run's ledger against the ground truth: precision and recall of each drop reason, the outcome of each fault, AUC of the
CLIP score."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Drop reasons of selectors that cut by a score, and the reason in the ground truth.
NAMES = {"top_fraction": "clip_score"}
#: Drop reasons that keep one row of a group, and the columns of the ground truth that define the groups.
GROUPS = {
    "duplicate_uid": ("same_row",),
    "exact_dedup": ("same_bytes",),
    "near_dedup": ("same_bytes", "same_picture"),
    "semantic_dedup": ("same_bytes", "same_picture"),
}


@dataclass(frozen=True)
class Measured:
    """The result of an evaluation as five tables.

    steps: for each step that dropped rows the numbers of dropped and remaining rows; `precision`: the share of the remaining rows that
        should be kept, each picture counted once; `recall`: the share of all rows that should be kept which remain.
    reasons: for each drop reason `dropped` rows, of which `right`; `precision` = right / dropped. `should` = rows for which this is
        the first correct reason, `caught` = those dropped for it or another correct reason, `elsewhere` = those dropped for an incorrect
        reason; `recall` = caught / should.
    faults: for each kind of fault its rows, and how many were kept, dropped for a correct reason, or for an incorrect one.
    languages: for each language of a foreign caption its rows, and how many were dropped for `language`, for another reason, or kept.
    auc: probability that a true caption scores higher than one taken from another picture of the same source; over `all`,
        by source, and `held out` (captions the small CLIP did not see).
    """

    steps: pa.Table
    reasons: pa.Table
    faults: pa.Table
    languages: pa.Table
    auc: pa.Table

    def __str__(self) -> str:
        titles = {
            "steps": "What each step dropped, and what it did to the pool",
            "reasons": "Precision and recall of each drop reason",
            "faults": "What became of each fault",
            "languages": "Captions in other languages",
            "auc": "CLIP score: true against shuffled captions",
        }
        parts = (f"{title}\n{columns(getattr(self, name))}" for name, title in titles.items() if len(getattr(self, name)))
        return "\n\n".join(parts)


def measure(ledger: pa.Table, truth: pa.Table | Path, names: Mapping[str, str] = NAMES, order: Sequence[str] = ()) -> Measured:
    """Compare a ledger (columns url, text, drop_reason, drop_stage and scores) with the truth of the same list. `order`: the steps in
    their order.

    `names` translates reasons (of selectors named at will) into the truth's. A reason the truth does not know, such as
    `balance`, is a choice and not a finding: its rows count as kept. Raises ValueError if the two are not of the same list.
    """
    if not isinstance(truth, pa.Table):
        truth = pq.read_table(truth)
    rows = _join(ledger, truth.to_pylist())
    steps = _steps(rows, order)
    known = {r for row in rows for r in row["expected"]} | GROUPS.keys()
    for row in rows:
        reason = names.get(row["reason"], row["reason"])
        row["reason"] = reason if reason in known or str(reason).startswith(("fetch:", "decode")) else None
    seen = {row["reason"] for row in rows}
    ran = {r for r in known if r in seen or r in ledger.column_names or r.startswith("fetch:")}
    return Measured(steps, _reasons(rows, ran), _faults(rows), _languages(rows), _auc(rows))


def _join(ledger: pa.Table, truth: list[dict]) -> list[dict]:
    """The rows of the ground truth with the ledger's drop reason and CLIP score. Rows with the same url and text are interchangeable."""
    places = defaultdict(list)
    for row in reversed(truth):
        places[row["url"], row["text"]].append(row)
    if len(ledger) != len(truth):
        raise ValueError(f"the ledger has {len(ledger)} rows, the truth {len(truth)}")
    scores = ledger["clip_score"].to_pylist() if "clip_score" in ledger.column_names else [None] * len(ledger)
    joined = []
    stages = ledger["drop_stage"].to_pylist() if "drop_stage" in ledger.column_names else [None] * len(ledger)
    named = (ledger[name].to_pylist() for name in ("url", "text", "drop_reason"))
    for url, text, reason, score, stage in zip(*named, scores, stages):
        if not places[url, text]:
            raise ValueError(f"the ledger has a row the truth does not know: {url!r} {text!r}")
        joined.append({**places[url, text].pop(), "reason": reason, "score": score, "stage": stage})
    return joined


def _steps(rows: list[dict], order: Sequence[str]) -> pa.Table:
    """The pool after each step that dropped rows of it."""
    number = {id(row): n for n, group in enumerate(_groups(rows, ("same_row", "same_bytes", "same_picture"))) for row in group}
    wanted = {number[id(r)] for r in rows if not r["expected"]}
    left, lines = rows, []
    for step in ["", *order]:
        fell = [r for r in left if step and r["stage"] == step]
        if step and not fell:
            continue
        left = [r for r in left if not (step and r["stage"] == step)]
        right = len({number[id(r)] for r in left if not r["expected"]})
        lines.append(
            {
                "step": step or "(the list)",
                "dropped": len(fell),
                "left": len(left),
                "precision": right / len(left) if left else None,
                "recall": right / len(wanted) if wanted else None,
            }
        )
    return pa.Table.from_pylist(lines)


def _reasons(rows: list[dict], ran: set[str]) -> pa.Table:
    order = sorted(ran, key=lambda r: (r.startswith(("fetch:", "decode")), r))
    lines = [_grouped(rows, r) if r in GROUPS else _single(rows, r) for r in order]
    return pa.Table.from_pylist([line for line in lines if line["should"] or line["dropped"]], _COUNTS)


_COUNTS = pa.schema(
    [
        ("reason", pa.string()),
        ("dropped", pa.int64()),
        ("right", pa.int64()),
        ("precision", pa.float64()),
        ("should", pa.int64()),
        ("caught", pa.int64()),
        ("elsewhere", pa.int64()),
        ("recall", pa.float64()),
    ]
)


def _single(rows: list[dict], reason: str) -> dict:
    """The counts of a drop reason that is evaluated row by row."""
    dropped = [r for r in rows if r["reason"] == reason]
    should = [r for r in rows if r["expected"][:1] == [reason]]
    caught = sum(r["reason"] in r["expected"] for r in should)
    elsewhere = sum(r["reason"] is not None and r["reason"] not in r["expected"] for r in should)
    return _line(reason, len(dropped), sum(reason in r["expected"] for r in dropped), len(should), caught, elsewhere)


def _grouped(rows: list[dict], reason: str) -> dict:
    """The counts of a drop reason that should keep one row of each group: correct drops leave at least one member, missed ones more
    than one."""
    dropped = right = missed = 0
    for group in _groups(rows, GROUPS[reason]):
        fell = sum(r["reason"] == reason for r in group)
        dropped, right = dropped + fell, right + min(fell, len(group) - 1)
        missed += max(0, sum(r["reason"] is None for r in group) - 1)
    return _line(reason, dropped, right, right + missed, right, 0)


def _groups(rows: list[dict], columns: tuple[str, ...]) -> list[list[dict]]:
    """Groups of rows that are connected by equal values in any of the columns; other rows are groups of their own."""
    leader = list(range(len(rows)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i] = leader[leader[i]]
        return i

    first: dict[tuple, int] = {}
    for i, row in enumerate(rows):
        for column in columns:
            if row[column] is not None:
                leader[find(i)] = find(first.setdefault((column, row[column]), i))
    groups = defaultdict(list)
    for i, row in enumerate(rows):
        groups[find(i)].append(row)
    return list(groups.values())


def _line(reason: str, dropped: int, right: int, should: int, caught: int, elsewhere: int) -> dict:
    return {
        "reason": reason,
        "dropped": dropped,
        "right": right,
        "precision": right / dropped if dropped else None,
        "should": should,
        "caught": caught,
        "elsewhere": elsewhere,
        "recall": caught / should if should else None,
    }


def _faults(rows: list[dict]) -> pa.Table:
    """The outcomes of each kind of fault, near duplicates by edit. Any member of a group may be dropped as a duplicate."""
    kinds = defaultdict(list)
    for row in rows:
        edit = json.loads(row["params"]).get("edit")
        kinds[f"{row['fault']}:{edit}" if edit else row["fault"]].append(row)
    lines = []
    for kind, of in sorted(kinds.items(), key=lambda item: (item[0] != "clean", item[0])):
        reasons = Counter(r["reason"] for r in of if r["reason"] is not None)
        right = sum(r["reason"] in r["expected"] or any(r[c] is not None for c in GROUPS.get(r["reason"], ())) for r in of)
        lines.append(
            {
                "fault": kind,
                "rows": len(of),
                "stayed": len(of) - reasons.total(),
                "fell_rightly": right,
                "fell_wrongly": reasons.total() - right,
                "reasons": ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(3)),
            }
        )
    return pa.Table.from_pylist(lines)


def _languages(rows: list[dict]) -> pa.Table:
    of = defaultdict(Counter)
    for row in rows:
        if row["fault"] == "other_language":
            end = "stayed" if row["reason"] is None else "language" if row["reason"] == "language" else "something_else"
            of[row["language"]][end] += 1
    ends = ("language", "something_else", "stayed")
    lines = [{"caption_in": k, "rows": n.total(), **{end: n[end] for end in ends}} for k, n in sorted(of.items())]
    return pa.Table.from_pylist(lines)


def _auc(rows: list[dict]) -> pa.Table:
    """AUC of the CLIP score: true captions of clean rows against captions shuffled within their source."""
    judged = [r for r in rows if r["score"] is not None and (r["fault"] == "clean" or r["matched"] is False)]
    sources = sorted({r["source"] for r in judged})
    subsets = {
        "all": judged,
        **{s: [r for r in judged if r["source"] == s] for s in sources},
        "held out": [r for r in judged if r["held_out"]],
    }
    lines = []
    for name, of in subsets.items():
        true, false = [r["score"] for r in of if r["matched"]], [r["score"] for r in of if not r["matched"]]
        if true and false:
            lines.append({"captions": name, "true": len(true), "shuffled": len(false), "auc": auc(true, false)})
    return pa.Table.from_pylist(lines)


def auc(high: list[float], low: list[float]) -> float:
    """Probability that a value of `high` exceeds one of `low`, ties counted half (Mann-Whitney's U over the number of pairs)."""
    ordered = np.sort(np.asarray(low, dtype=np.float64))
    below, not_above = (np.searchsorted(ordered, np.asarray(high, dtype=np.float64), side) for side in ("left", "right"))
    return float((below + not_above).sum() / 2 / len(high) / len(low))


def columns(table: pa.Table) -> str:
    """A table as plain text with aligned columns, numbers to the right."""

    def cell(value) -> str:
        return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)

    rows = [[cell(v) for v in row.values()] for row in table.to_pylist()]
    heads = [name.replace("_", " ") for name in table.column_names]
    widths = [max(len(line[i]) for line in [heads, *rows]) for i in range(len(heads))]
    left = [pa.types.is_string(t) for t in table.schema.types]
    padded = ((c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(line, widths, left)) for line in [heads, *rows])
    return "\n".join("  ".join(line).rstrip() for line in padded)
