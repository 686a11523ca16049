"""`curate why`: the history of one row: each score with its bound, the rule that dropped it or the shard that contains it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from curate.errors import RecipeError
from curate.selector import quoted
from curate.shard.write import shard_names
from curate.view.describe import dimensions
from curate.view.grid import beside, put
from curate.view.look import number
from curate.view.markup import join, macros, page
from curate.view.run import Run
from curate.view.samples import QUIET, Card, cards, columns, light, pairs_of

#: What recipe.json says of a step besides its parameters.
BESIDES = {"step", "kind", "table", "fingerprint", "adds", "class", "version", "name"}

#: Parameters of a fetch that say nothing where the one before keeps the bytes as they came.
_REENCODING = ("image_size", "only_if_bigger", "encode_format", "encode_quality")

#: Columns that a story names above its steps, or not at all.
_ELSEWHERE = QUIET - {"http_status"}

_HASH = re.compile(r"(sha256:)?[0-9a-f]{12,}")

#: Parameters that are bounds, with their wording.
BOUNDS = {
    "min": "≥ {}",
    "max": "≤ {}",
    "among": "one of {}",
    "sql": "{}",
    "fraction": "{} of the pool",
    "t": "t {}",
    "key": "same {}",
}


@dataclass
class Line:
    """A step of the recipe as the row met it: the columns it left (name and value as text), its thresholds, and what came of it."""

    step: str
    values: list[tuple[str, str]]
    bounds: str
    outcome: str  # passed, no value, dropped, not reached, or failed (of a fetch that rows share)


@dataclass
class Story:
    """A row of a table, what each step made of it, and its duplicates."""

    run: Run
    table: str
    card: Card
    lines: list[Line]
    twins: list[Any]  # samples.Pair: the row and its survivor, or those that fell for it


def stories_of(run: Run, who: str, thumbnails: bool = True) -> list[Story]:
    """The stories of all rows with a uid, key or URL; RecipeError if there are none."""
    stories = [
        _story(run, name, row, thumbnails)
        for name in ("images", "documents", "texts")
        if name in _tables(run)
        for row in _rows(run, name, who)
    ]
    if not stories:
        raise RecipeError(f"no row has the uid or URL {who}")
    return stories


def _tables(run: Run) -> list[str]:
    return list(run.recipe.get("rows", {"images": {}}))


def _rows(run: Run, name: str, who: str) -> list[dict[str, Any]]:
    match = re.fullmatch(r"([0-9a-f]{32})(-\d+)?", who)
    if not match and "url" not in columns(run, name):
        return []
    condition = f"uid = {quoted(match[1])}" if match else f"url = {quoted(who)}"
    query = f"select {light(run, name)} from {name} where {condition} order by kept desc, source_file, source_row limit 20"
    return run.sql(query).to_arrow_table().to_pylist()


def _story(run: Run, name: str, row: dict[str, Any], thumbnails: bool) -> Story:
    twins = pairs_of(run, row["uid"], name, thumbnails=thumbnails)
    card = cards(run.store, [row], 480)[0] if thumbnails else Card(row, None)
    return Story(run, name, card, list(_lines(run, name, row)), twins)


def _lines(run: Run, name: str, row: dict[str, Any]) -> Iterator[Line]:
    fell = row.get("drop_stage")
    if fell == "source":
        yield Line("source", [], "", f"dropped: {row['drop_reason']}")
    over = fell == "source"
    for step in run.recipe.get("steps", []):
        if step.get("table", "images") != name and step["step"] != fell:
            continue
        here = step["step"] == fell
        outcome = "not reached" if over else _dropped(row) if here else "passed"
        if step.get("shared") and not over and row.get(step["step"]) not in (None, "ok"):
            outcome = f"failed: {row[step['step']]}"  # rows are dropped by the step that shares it among rows
        values = _values(row, step, run.recipe["steps"])
        shown = [c for c in step.get("adds", ()) if c in row]
        if outcome == "passed" and shown and all(row[c] is None for c in shown):
            outcome = "no value"
        yield Line(step["step"], values, bounds(step), outcome)
        over = over or here


def _dropped(row: dict[str, Any]) -> str:
    """`dropped`, with the reason where it is not the name of the step."""
    return "dropped" if row["drop_reason"] == row["drop_stage"] else f"dropped: {row['drop_reason']}"


def _values(row: dict[str, Any], step: dict[str, Any], steps: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The columns that a step added, and the one that it looks at. Of a run whose recipe.json does not name them (`adds`): those that
    begin with its name, and not with a longer one."""
    name, column = step["step"], step.get("column")
    longer = tuple(s["step"] for s in steps if s["step"].startswith(f"{name}_"))
    adds = step.get("adds", [k for k in row if k == name or (k.startswith(f"{name}_") and not k.startswith(longer))])
    mine = {k: v for k, v in row.items() if (k == name or k == column or (k in adds and k not in _ELSEWHERE)) and v is not None}
    return [pair for k, v in mine.items() for pair in _parts(k, v)]


def _parts(name: str, value: Any) -> list[tuple[str, str]]:
    """A value, or of a struct each field that has one, hashes left out."""
    if not isinstance(value, dict):
        return [(name, number(value))]
    return [p for k, v in value.items() if v is not None and not _HASH.fullmatch(str(v)) for p in _parts(f"{name}.{k}", v)]


def in_effect(step: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a step of recipe.json that are set and change something."""
    idle = _REENCODING if not any(step.get(p) for p in ("resize_mode", "ground", "reencode")) else ()
    return {k: v for k, v in step.items() if k not in BESIDES and k not in idle and v not in (None, "", [], {}, False)}


def bounds(step: dict[str, Any]) -> str:
    """What a step asks of a row, in words."""
    bounds = ((form, step.get(name)) for name, form in BOUNDS.items())
    return " and ".join(
        form.format(", ".join(map(str, v)) if isinstance(v, list) else number(v))
        for form, v in bounds
        if v not in (None, "", [])
    )


def fate(story: Story) -> str:
    """What became of the row, in a line."""
    row = story.card.row
    if row.get("drop_reason"):
        return f"dropped by {row['drop_stage']}" + _dropped(row).removeprefix("dropped")
    if row.get("shard") is None:
        return "kept"
    copies = f", {row['copies']} copies" if (row.get("copies") or 1) > 1 else ""
    return f"kept: shards/{shard_names(story.run.dataset)[row['shard']]}.tar, key {row['key']}{copies}"


def _head(story: Story) -> list[tuple[str, str]]:
    row = story.card.row
    known = [
        ("text", row.get("text") or row.get("title")),
        ("url", row.get("url")),
        ("image", dimensions(row)),
        ("table", story.table),
        ("read from", f"{row.get('source_file')}, row {row.get('source_row')}"),
    ]
    made = [(k, v) for k, v in row.items() if k.startswith("caption_") and isinstance(v, str)]
    return [(k, str(v)) for k, v in known + made if v]


def as_text(story: Story) -> str:
    """The story for a terminal."""
    lines = [story.card.row["uid"], *(f"  {k:<10} {v}" for k, v in _head(story)), f"  {fate(story)}", ""]
    wide = max((len(line.step) for line in story.lines), default=0)
    for line in story.lines:
        first, *more = [v if k == line.step else f"{k} {v}" for k, v in line.values] or ["–"]
        lines.append(f"  {line.step:<{wide}}  {first:<28}  {line.bounds:<20}  {line.outcome}".rstrip())
        lines += [f"  {'':<{wide}}  {value}" for value in more]
    for pair in story.twins:
        survivor = pair.survivor.row
        where = f" of the earlier release {survivor['release']}" if survivor.get("release") else ""
        lines.append(
            f"  {pair.step}: {pair.dropped.row['uid']} is a duplicate of {survivor['uid']}{where}, similarity {number(float(pair.similarity))}"
        )
    return "\n".join(lines)


def as_html(story: Story) -> Markup:
    """The story with its picture."""
    return macros("story.html").story(story, fate(story), _head(story), [beside(pair) for pair in story.twins])


def write(run: Run, stories: list[Story], out: str | None) -> str:
    """Write the stories as a page; returns where it is."""
    uid = stories[0].card.row["uid"]
    return put(run, page(f"why {uid}", join(map(as_html, stories))), f"why-{uid}.html", out)
