"""What each rule drops of each language: filters that look neutral are often not."""

from markupsafe import Markup

from curate.selector import identifier
from curate.view.facts import Facts
from curate.view.markup import PARTS
from curate.view.sections import NOTHING, SECTIONS

#: The column with the language of a row, by table; the first that is there.
COLUMNS = {"images": ("language", "source_language"), "documents": ("document_language",), "texts": ("paragraph_language",)}
#: Languages that have a column of their own, the most frequent ones.
MOST = 8
#: Rows of a language that must reach a rule for its loss to be a number.
LEAST = 20
#: A loss so many times that of all rows stands out.
FAR = 1.5


def languages(f: Facts) -> Markup:
    """For each table whose rows have a language the share that each rule drops of those that reach it, language by language."""
    blocks = [(name, lost) for name in f.total if (lost := _losses(f, name))]
    if not blocks:
        return NOTHING
    words = f"""Percent of the rows that reach a rule and are dropped by it, for the most frequent languages; bold: more than {FAR:g} times the
        loss of all rows. A dash: fewer than {LEAST} rows. Rows that were dropped before their language was known are not counted."""
    return SECTIONS.losses(" ".join(words.split()), SECTIONS.by_table(blocks, len(f.total) > 1))


def losses(f: Facts, name: str) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """The languages of a table, the most frequent first after `all`, and for each rule that dropped rows its losses in their order: shares
    of the rows that reached it, None where those are too few. Empty where rows have no language."""
    column = next((c for c in COLUMNS.get(name, ()) if c in f.columns[name]), None)
    if column is None:
        return [], []
    counted = f.rows(f"""select {identifier(column)} as language, coalesce(drop_stage, '') as stage, count(*) as n
        from {name} where {identifier(column)} is not null group by all""")
    left: dict[str, int] = {}
    for row in counted:
        left[row["language"]] = left.get(row["language"], 0) + row["n"]
    shown = sorted(left, key=lambda k: (-left[k], k))[:MOST]
    if len(shown) < 2:
        return [], []
    fell = {(r["stage"], r["language"]): r["n"] for r in counted}
    lines = []
    for rule, _ in f.rules(name):
        gone = {k: fell.get((rule, k), 0) for k in left}
        if any(gone.values()):
            whole = sum(gone.values()) / sum(left.values())
            lines.append((rule, [whole, *(gone[k] / left[k] if left[k] >= LEAST else None for k in shown)]))
            left = {k: n - gone[k] for k, n in left.items()}
    return ["all", *shown], lines


def _losses(f: Facts, name: str) -> Markup:
    heads, lines = losses(f, name)
    if not lines:
        return NOTHING
    rows = [(rule, *(_cell(share, shares[0]) for share in shares)) for rule, shares in lines]
    return PARTS.table(("rule", *heads), rows, range(1, len(heads) + 1))


def _cell(share: float | None, whole: float) -> str:
    if share is None:
        return "–"
    text = f"{100 * share:.1f}"
    return SECTIONS.bold(text) if share > FAR * whole and share >= 0.01 else text
