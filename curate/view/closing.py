"""The final summary of a run: its funnel, its output, the next commands; and an explanation if nothing was kept."""

import shlex
from collections import Counter
from typing import Any

from curate.view.markup import macros
from curate.view.run import Run


def nothing_kept(run: Run) -> str:
    """Of a run that kept nothing, which rules dropped its rows and what to do; empty if something was kept."""
    if run.dataset["samples"]:
        return ""
    table = run.dataset.get("table", "images")
    rows = [r for r in run.stats().to_pylist() if r["table"] == table and r["reason"] != "kept"]
    total = sum(r["rows"] for r in rows)
    if not total:
        return f"NOTHING WAS KEPT: the input has no rows of {table}"
    stages: Counter[str] = Counter()
    for r in rows:
        stages[r["stage"] or r["reason"]] += r["rows"]
    (worst, most), *others = stages.most_common(3)
    top = max((r for r in rows if (r["stage"] or r["reason"]) == worst), key=lambda r: r["rows"])
    often = f", most often {top['reason']} ({top['rows']:,})" if top["reason"] != worst else ""
    dropped = f"all {total:,}" if most == total else f"{most:,} of {total:,}"
    then = "".join(f", {name} {n:,}" for name, n in others)
    mend = "correct the input" if worst == "source" else "change that step"
    return (
        f"NOTHING WAS KEPT: {worst} dropped {dropped} {table}{often}{then and '; then' + then[1:]}. "
        f"See them with `curate show {shlex.quote(run.store.url)} --reason {shlex.quote(top['reason'])}`, {mend} and run again"
    )


def summary(run: Run, place: str) -> str:
    """What a run left and where, and the commands that look at it; `place` is the run's folder as the user wrote it."""
    shards, folder = len(run.dataset["shards"]), shlex.quote(place)
    samples = run.dataset["samples"]
    where = f"in {shards} shard{'s' * (shards != 1)}: {run.store.path('shards')}" if shards else "kept; no shards"
    lines = [f"{samples:,} sample{'s' * (samples != 1)} {where}   root hash {run.dataset['root_hash'][:16]}"]
    if run.store.exists("report.html"):
        lines.append(f"report: {run.store.path('report.html')}")
    if lost := nothing_kept(run):
        return "\n".join([*lines, "", lost])
    documents = " --documents" if run.dataset.get("table") == "documents" else ""
    look = f"curate show {folder}{documents}" if shards else f'curate sql {folder} "select * from images where kept limit 20"'
    return "\n".join([*lines, f"next: {look}"])


def funnel(rows: list[dict[str, Any]]) -> str:
    """The funnel as text: in = kept + reasons, for every table, in the order of the recipe. Rows as Run.stats() gives them."""
    lines = []
    for name in dict.fromkeys(r["table"] for r in rows):
        mine = [r for r in rows if r["table"] == name]
        lines.append(f"{name}: {sum(r['rows'] for r in mine):,} rows in")
        for r in mine:
            mark = "  kept" if r["reason"] == "kept" else f"  - {r['reason']}"
            lines.append(f"{mark:<36}{r['rows']:>12,}{r['percent']:>9.2f} %")
    return "\n".join(lines)


def funnel_html(title: str, words: str, rows: list[dict[str, Any]]) -> str:
    """The funnel as a table for notebooks, a bar a reason."""
    return macros("funnel.html").funnel(title, words, rows)
