"""The dataset card (README.md, with the front matter that Hugging Face reads) and Croissant metadata of a run."""

import html
import json
from collections.abc import Iterator

from curate.selector import identifier
from curate.view.croissant import croissant
from curate.view.look import clean, number, size
from curate.view.run import Run
from curate.view.samples import columns
from curate.view.story import in_effect

#: Columns that name a sample's licence, the first that is there: of the step Licence, of lists, of pages.
LICENCES = ("licence", "source_licence", "source_license", "declared_licence")


def files(run: Run) -> dict[str, str]:
    """The card and the metadata of a finished run, by file name."""
    licences = _licences(run)
    return {"README.md": card(run, licences), "croissant.json": croissant(run, _about(run), [name for name, _ in licences])}


def _columns(run: Run, table: str) -> dict[str, str]:
    return columns(run, table) if table in run.recipe["rows"] else {}


def _licences(run: Run) -> list[tuple[str, int]]:
    known = {c.lower(): identifier(c) for c in _columns(run, "images")}
    column = next((known[c] for c in LICENCES if c in known), None)
    if not column:
        return []
    return run.sql(
        f"select {column}::varchar, count(*) as n from images where kept and {column} is not null group by all order by n desc, 1 limit 50"
    ).fetchall()


def _about(run: Run) -> str:
    source = run.recipe["source"]["class"]
    return (
        f"{run.dataset['samples']:,} samples in {len(run.dataset['shards'])} WebDataset shards, made by curate with the recipe "
        f"{run.recipe['name']} from {source}. Root hash {run.dataset['root_hash']}."
    )


def card(run: Run, licences: list[tuple[str, int]]) -> str:
    """The card as Markdown."""
    return clean(
        "\n".join(
            [
                *_front(run),
                "",
                f"# {run.recipe['name'] or 'Data set'}",
                "",
                _about(run),
                "",
                *_sources(run),
                *_funnel(run),
                *_rights(run, licences),
                *_people(run),
                *_removed(run),
                *_recipe(run),
            ]
        )
        + "\n"
    )


def _front(run: Run) -> list[str]:
    rows = run.dataset["samples"]
    classes = [
        (1e3, "n<1K"),
        (1e4, "1K<n<10K"),
        (1e5, "10K<n<100K"),
        (1e6, "100K<n<1M"),
        (1e7, "1M<n<10M"),
        (1e8, "10M<n<100M"),
        (1e9, "100M<n<1B"),
    ]
    words = next(
        (w for most, w in classes if rows < most),
        "n>1T" if rows > 1e12 else "1B<n<10B" if rows < 1e10 else "10B<n<100B" if rows < 1e11 else "100B<n<1T",
    )
    return [
        "---",
        "task_categories:",
        "- image-to-text",
        "- text-to-image",
        "size_categories:",
        f"- {words}",
        "tags:",
        "- webdataset",
        "- curate",
        "---",
    ]


def _sources(run: Run) -> Iterator[str]:
    yield "## Sources"
    yield ""
    yield "| file | rows | hash |"
    yield "|---|---:|---|"
    inputs = run.recipe["inputs"]
    for i in inputs[:20]:
        yield f"| {_cell(i['path'])} | {number(sum(i['rows'].values()))} | `{i.get('hash', '')[:23]}` |"
    if len(inputs) > 20:
        yield f"\nand {len(inputs) - 20:,} more, all in `recipe.json`, or in `inputs.parquet`."
    yield ""


def _funnel(run: Run) -> Iterator[str]:
    yield "## Funnel"
    yield ""
    yield "| table | stage | reason | rows | percent |"
    yield "|---|---|---|---:|---:|"
    for r in run.stats().to_pylist():
        yield f"| {r['table']} | {r['stage'] or '–'} | {r['reason']} | {r['rows']:,} | {r['percent']:.2f} |"
    yield ""


def _rights(run: Run, licences: list[tuple[str, int]]) -> Iterator[str]:
    yield "## Licences and opt-outs"
    yield ""
    if licences:
        yield "As the source names them, of the kept rows: " + ", ".join(f"{_cell(n)} ({k:,})" for n, k in licences) + "."
    else:
        yield "The source names no licences; each sample keeps that of where it was found (`url`)."
    counts = run.recipe["rows"].get("images", {})
    fetch = next((s for s in run.recipe["steps"] if s.get("class") == "Fetch"), None)
    if fetch:
        honoured = [
            w
            for w, on in (("robots.txt", fetch.get("robots")), ("X-Robots-Tag and tdm-reservation", fetch.get("opt_out")))
            if on
        ]
        yield (
            f"Honoured while fetching: {' and '.join(honoured) or 'no opt-outs'}; left out for it: {counts.get('fetch:robots', 0):,} and "
            f"{counts.get('fetch:opt_out', 0):,} rows."
        )
    yield ""


def _people(run: Run) -> Iterator[str]:
    """What of people is in the kept samples, as far as the recipe looked for it."""
    yield "## People"
    yield ""
    lines = [
        line for table, words in (("images", "captions"), ("texts", "paragraphs")) for line in _contacts(run, table, words)
    ] + list(_metadata(run))
    yield from lines or ["Nothing was counted: the recipe has none of CaptionContacts, ParagraphContacts, ImageMetadata."]
    gone = {t: counts["removed"] for t, counts in run.recipe["rows"].items() if counts.get("removed")}
    yield from (f"Taken down since, by `curate takedown`: {n:,} {t}." for t, n in gone.items())
    yield ""


def _contacts(run: Run, table: str, words: str) -> Iterator[str]:
    column = f"{'caption' if table == 'images' else 'paragraph'}_contacts"
    redacted = (run.recipe.get("shards") or {}).get("redacts", {}).get(table, {})
    if column in _columns(run, table):
        found, rows, total = run.sql(
            f"select coalesce(sum({column}), 0)::bigint, count(*) filter ({column} > 0), count(*) from {table} where kept"
        ).fetchall()[0]
        end = "; redacted in the shards." if "text" in redacted else "." if not found else "; not redacted."
        yield f"E-mail addresses and phone numbers: {found:,} in {rows:,} of {total:,} {words} kept{end}"


def _metadata(run: Run) -> Iterator[str]:
    if "image_metadata" in _columns(run, "images"):
        some, place, total = run.sql(
            "select count(*) filter (image_metadata > 0), count(*) filter (image_metadata > 1), count(*) from images where kept"
        ).fetchall()[0]
        how = "kept as they came" if all(s.get("resize_mode") is None for s in run.recipe["steps"]) else "re-encoded"
        yield f"Of {total:,} files {how} {some:,} carry metadata (EXIF, XMP, IPTC, comments), {place:,} of them a place (GPS)."


def _removed(run: Run) -> Iterator[str]:
    """Evaluation sets whose samples were taken out."""
    sets = [
        (s["step"], name)
        for s in run.recipe["steps"]
        for name in run.recipe.get("notes", {}).get(s["step"], {}).get("sets", {})
    ]
    yield "## Evaluation sets removed"
    yield ""
    counts = run.recipe["rows"].get("images", {})
    for step, name in sets:
        yield f"- {_cell(name)} (by `{step}`; {counts.get(step, 0):,} rows for all sets of this step)"
    if not sets:
        yield "None: no evaluation set was given."
    yield ""


def _recipe(run: Run) -> Iterator[str]:
    yield "## Recipe"
    yield ""
    yield f"`{run.recipe['name']}`, fingerprint `{run.recipe['fingerprint']}`, {size(run.dataset['bytes'])} in the tars; all of it in `recipe.json`."
    yield ""
    for s in run.recipe["steps"]:
        parameters = in_effect(s)
        yield f"- `{s['step']}` ({s['class']}): " + (
            ", ".join(f"{k} {_cell(json.dumps(v, ensure_ascii=False))}" for k, v in parameters.items()) or "no parameters"
        )


def _cell(text: str) -> str:
    """Text in a Markdown table: nothing in it is markup, and nothing in it is invisible."""
    shown = html.escape(clean(text.replace("\r", " ").replace("\n", " ")), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in shown)
