"""`curate annotate`: exports samples of a run in a form in which people can annotate them.

Who judges does not see what became of a row. The weight says how many rows of the pool a row that was drawn at random stands
for; it travels with the row and comes back with the verdict.
"""

import csv
import io
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import duckdb
import numpy as np
from PIL import Image, ImageDraw

from curate.errors import PoolError, RecipeError
from curate.fetch.isolate import Isolated
from curate.selector import coin, coin_sql, identifier, quoted
from curate.view.bounds import Bound, bounds_of
from curate.view.describe import missing
from curate.view.look import inert
from curate.view.run import Run
from curate.view.samples import cards, columns, light

#: Each form, and what it writes.
FORMS = {
    "label-studio": "tasks.json to import, with the pictures in it, and config.xml, the labeling interface",
    "label-studio-files": "the same with the pictures in a folder, for Label Studio's local files",
    "csv": "verdicts.csv to be filled in, and the pictures in a folder",
}
COLUMNS = ("uid", "image", "text", "url", "weight", "verdict", "reason", "comment", "annotator")

#: One row for each uid: duplicates of a uid are the same text and URL, and the one that went on stands for them.
ROWS = """(select * from images qualify row_number() over (partition by uid order by kept desc,
    drop_reason is not distinct from 'duplicate_uid', source_file, source_row) = 1)"""

#: Numeric columns with more values than this are cut into ten strata of equal size.
FEW_VALUES = 20


# ---- which rows


def stratified(run: Run, n: int, by: str = "drop_reason", where: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """About `n` rows, as many of each value of a column (or SQL expression) as there are, drawn by a hash of uid and seed.

    Each stands for (rows of its stratum / rows drawn of it) rows of the pool: its `weight_`. What a small stratum leaves goes
    to the others.
    """
    values = _strata(run, "coalesce(drop_reason, 'kept')" if by == "drop_reason" else f"({by})")
    rows = (
        run.sql(f"""with cut as (select *, ({values})::varchar as stratum_ from {ROWS} where {f"({where})" if where else "true"})
        select {light(run)}, stratum_, count(*) over (partition by stratum_) as size_,
        row_number() over (partition by stratum_ order by {coin_sql("uid", seed, "annotate")}, uid) as place_
        from cut qualify place_ <= {int(n)} order by stratum_, place_""")
        .to_arrow_table()
        .to_pylist()
    )
    sizes = {r["stratum_"]: r["size_"] for r in rows}
    if len(sizes) > n:
        raise RecipeError(f"{by} has {len(sizes)} values: ask for at least one sample of each, -n {len(sizes)}")
    share = shares(sizes, n)
    return [{**r, "weight_": r["size_"] / share[r["stratum_"]]} for r in rows if r["place_"] <= share[r["stratum_"]]]


def _strata(run: Run, values: str) -> str:
    """The expression, or where it is a number with many values the tenth of the rows in which it lies; those without a finite value
    are a stratum of their own."""
    distinct, kind = run.sql(
        f"select count(distinct v), any_value(typeof(v)) from (select {values} as v from images)"
    ).fetchall()[0]
    if distinct <= FEW_VALUES or kind not in ("FLOAT", "DOUBLE", "INTEGER", "BIGINT", "SMALLINT", "TINYINT"):
        return values
    finite, tenths = f"isfinite({values}::double)", [i / 10 for i in range(1, 10)]
    cuts = run.sql(f"select quantile_disc({values}::double, {tenths}) filter ({finite}) from images").fetchall()[0][0]
    return f"case when {finite} then len(list_filter({[float(c) for c in cuts]}, lambda c: c < {values}::double)) end"


def shares(sizes: dict[Any, int], n: int) -> dict[Any, int]:
    """How many of each stratum: equal shares of `n`; what a small one leaves goes to the others."""
    share, left = {}, n
    for i, (stratum, size) in enumerate(sorted(sizes.items(), key=lambda s: (s[1], str(s[0])))):
        share[stratum] = min(size, left // (len(sizes) - i))
        left -= share[stratum]
    return share


def borderline(run: Run, n: int, near: str, where: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """The rows nearest to the bounds of a rule (or of the rules on a column; `all`: every one): as many that passed as fell.

    They have no weight: they say where a bound should be, not how many rows of the pool are wrong.
    """
    bounds = bounds_of(run.recipe, "images")
    kinds = columns(run, "images")
    mine = [b for b in bounds if near in (b.rule, b.column, "all") and b.column in kinds]
    if not mine:
        raise RecipeError(
            f"no rule on images with a bound is called {near}; there are: {', '.join(dict.fromkeys(b.rule for b in bounds)) or 'none'}"
        )
    found: dict[str, dict[str, Any]] = {}
    for bound in mine:
        within = inside(bound, kinds[bound.column])
        for side in (f"{within} and kept", f"not ({within}) and drop_reason = {quoted(bound.rule)}"):
            rows = run.sql(f"""select {light(run)} from {ROWS} where {side} and {f"({where})" if where else "true"}
                order by abs({identifier(bound.column)} - {bound.value!r}), {coin_sql("uid", seed, "annotate")}, uid limit {max(1, int(n) // (2 * len(mine)))}""")
            found |= {r["uid"]: r for r in rows.to_arrow_table().to_pylist()}
    return [{**r, "stratum_": near, "weight_": None} for r in found.values()]


def inside(bound: Bound, kind: str) -> str:
    """SQL that holds for rows within a bound on a column of this SQL type; the bound is as precise as the column (stage.within)."""
    precision = "float" if kind == "FLOAT" else "double"
    return f"{identifier(bound.column)} {'>=' if bound.side == 'min' else '<='} {bound.value!r}::{precision}"


# ---- the forms


def write(
    run: Run, rows: list[dict[str, Any]], form: str, out: str, side: int = 768, seed: int = 0, pair: str = ""
) -> list[str]:
    """Write rows in one of FORMS into the folder `out`; returns the names of its files. An earlier export is not replaced. pair: the
    column with a question and two answers (synth.preference), of which the better one is asked for."""
    folder = Path(out)
    if not rows:
        raise RecipeError("no such rows")
    for name in ("verdicts.csv", "tasks.json"):
        if (folder / name).exists():
            raise RecipeError(f"{folder / name}: there already, perhaps with somebody's verdicts; choose another folder")
    # Not in the order of the strata: the order would give the outcome away.
    shuffled = [rows[i] for i in np.lexsort(([r["uid"] for r in rows], coin((r["uid"] for r in rows), seed, "order")))]
    try:
        os.makedirs(folder if form == "label-studio" else folder / "images", exist_ok=True)
        if pair:
            shuffled = [{**row, "text": paired(row[pair])} for row in shuffled]
        asked = list(_asked(run, shuffled, folder, form, side))
        if form == "csv":
            return _write_csv(asked, folder)
        tasks = [{"data": {k: v for k, v in a.items() if v is not None}} for a in asked]
        (folder / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False, indent=1), "utf-8")
        (folder / "config.xml").write_text(config([] if pair else rules(run), bool(pair)), "utf-8")
    except OSError as e:
        raise PoolError(f"{out}: cannot write: {e.strerror or e}") from e
    return ["tasks.json", "config.xml", *(["images/"] if form != "label-studio" else [])]


def _asked(run: Run, rows: list[dict[str, Any]], folder: Path, form: str, side: int) -> Iterator[dict[str, Any]]:
    """What is asked about each row: its picture (in the folder, or as a data URL), its words, its weight."""
    with Isolated() as child:
        for start in range(0, len(rows), 64):
            for card in cards(run.store, rows[start : start + 64], side, child):
                row, jpeg = card.row, card.thumbnail or blank(missing(card.row))
                name = f"images/{row['uid']}.jpg"
                if form == "label-studio":
                    name = f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"
                else:
                    (folder / name).write_bytes(jpeg)
                    name = (
                        f"/data/local-files/?d={quote(f'{folder.resolve().name}/{name}')}"
                        if form == "label-studio-files"
                        else name
                    )
                yield {
                    "uid": row["uid"],
                    "image": name,
                    "text": storable(row["text"]),
                    "url": storable(row["url"]),
                    "weight": None if row["weight_"] is None else round(row["weight_"], 6),
                }


def blank(words: str) -> bytes:
    """A grey picture that says why there is none."""
    out, image = io.BytesIO(), Image.new("RGB", (480, 320), (200, 200, 200))
    ImageDraw.Draw(image).text((240, 160), words, fill=(60, 60, 60), anchor="mm", font_size=22)
    image.save(out, "JPEG")
    return out.getvalue()


def storable(text: str | None) -> str:
    """Text that any database takes: without the null character and without halves of characters."""
    return (text or "").encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _write_csv(asked: list[dict[str, Any]], folder: Path) -> list[str]:
    # With the mark at its beginning spreadsheets read the file as UTF-8.
    with open(folder / "verdicts.csv", "w", encoding="utf-8-sig", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows({k: "" if v is None else inert(v) if k in ("text", "url") else v for k, v in a.items()} for a in asked)
    return ["verdicts.csv", "images/"]


def rules(run: Run) -> list[str]:
    """The rules that may drop an image, by name."""
    return [s["step"] for s in run.recipe["steps"] if s.get("table", "images") == "images" and s["step"] != "duplicate_uid"]


def paired(pair: dict[str, Any]) -> str:
    """A question and its answers, as people read them."""
    return f"{pair['question']}\n\nFirst: {pair['first']}\n\nSecond: {pair['second']}"


def config(reasons: list[str], pairs: bool = False) -> str:
    """Label Studio's labeling interface: picture, words, the verdict, and which rule ought to have dropped what is bad. pairs: which of
    two answers is better."""
    view = ElementTree.Element("View")
    add = lambda tag, parent=view, **attributes: ElementTree.SubElement(parent, tag, attributes)  # noqa: E731
    add("Image", name="image", value="$image", zoom="true")
    add("Text", name="text", value="$text")
    verdict = add("Choices", name="verdict", toName="image", choice="single-radio", required="true", showInline="true")
    for word in ("first", "second", "unsure") if pairs else ("good", "bad", "unsure"):
        add("Choice", verdict, value=word, hotkey=word[0])
    if not pairs:
        _reasons(view, reasons)
    add("TextArea", name="comment", toName="image", rows="1", editable="true", placeholder="comment")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _reasons(view: ElementTree.Element, reasons: list[str]) -> None:
    """The choice of rules, which is there where the verdict is bad."""
    about = {"visibleWhen": "choice-selected", "whenTagName": "verdict", "whenChoiceValue": "bad"}
    attributes = {"name": "reason", "toName": "image", "choice": "multiple", "showInline": "true", **about}
    reason = ElementTree.SubElement(view, "Choices", attributes)
    for name in reasons:
        ElementTree.SubElement(reason, "Choice", {"value": name})


def draw(run: Run, n: int, by: str, near: str | None, where: str, seed: int, pair: str = "") -> list[dict[str, Any]]:
    """The rows to be judged; RecipeError if the run has no images, the SQL is wrong, or there is no column `pair`."""
    if "images" not in run.recipe.get("rows", {}):
        raise RecipeError(f"{run.store.url}: has no images to judge")
    if pair:
        if not columns(run, "images").get(pair, "").startswith("STRUCT(question"):
            raise RecipeError(f"{run.store.url}: {pair} is no column of pairs of answers; synth.preference makes one")
        where = " and ".join(f"({w})" for w in (where, f"{identifier(pair)} is not null") if w)
    try:
        return borderline(run, n, near, where, seed) if near else stratified(run, n, by, where, seed)
    except duckdb.Error as e:
        raise RecipeError(f"SQL: {str(e).splitlines()[0]}") from e
