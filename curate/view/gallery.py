"""`curate.show`: samples, pairs and documents as objects that a notebook displays, and that are plain HTML elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from curate.errors import RecipeError
from curate.selector import identifier, quoted
from curate.view import grid, samples
from curate.view.markup import PARTS, join, page
from curate.view.run import Run


@dataclass(repr=False)
class Shown:
    """Something to look at. A notebook displays it; `str()` is a whole HTML page, `save` writes it."""

    title: str
    words: str
    body: Markup
    height: int = 620

    def __str__(self) -> str:
        return page(self.title, PARTS.heading(self.title, self.words) + self.body)

    def __repr__(self) -> str:
        return f"<{self.title}: {self.words}>"

    def _repr_html_(self) -> str:
        # A frame of its own: the page's style stays in it, and nothing in it can run.
        return PARTS.frame(str(self), self.height)

    def save(self, path: str | Path) -> Path:
        """Write the page; returns its path."""
        Path(path).write_bytes(str(self).encode())
        return Path(path)


def show(
    run: Run,
    what: Any = None,
    *,
    reason: str | None = None,
    where: str | None = None,
    n: int = 16,
    documents: bool = False,
    captions: bool = False,
) -> Shown:
    """Samples of a run.

    show(run)                              kept samples
    show(run, reason="language")           rows dropped for a reason; for a dedup, pairs side by side
    show(run, where="clip_score < 0.2")    kept samples for which SQL holds
    show(run, documents=True)              web pages with their images in place
    show(run, captions=True)               pictures with their raw text beside what models wrote
    show(run, rows)                        these: uids, or a relation, table or data frame with a column uid, in its order
    """
    if what is not None:
        return _these(run, what, n)
    title = f"dropped by {reason}" if reason else "kept"
    if documents:
        return Shown(title, f"documents of {run.store.url}", join(grid.documents(run, n, reason, where)), 900)
    if captions:
        return _captions(run, reason, where, n)
    body, words = grid.contents(run, reason, n, where)
    return Shown(title, words, body)


def _captions(run: Run, reason: str | None, where: str | None, n: int) -> Shown:
    made = samples.written(run)
    if not made:
        raise RecipeError(f"{run.store.url}: no model wrote captions in this run")
    any_of = " or ".join(f"{identifier(c)} is not null" for c in made)
    found = samples.samples(run, reason, n, f"({any_of})" + (f" and ({where})" if where else ""))
    return Shown("raw and synthetic captions", f"{len(found)} samples of {run.store.url}", grid.captioned(found, made), 900)


def _these(run: Run, what: Any, n: int) -> Shown:
    """The samples that are named, in the order in which they are."""
    uids = _uids(what)[:n]
    listed = ", ".join(map(quoted, uids)) or "''"
    rows = (
        run.sql(f"select {samples.light(run)} from images where uid in ({listed}) order by kept").to_arrow_table().to_pylist()
    )
    known = {c.row["uid"]: c for c in samples.cards(run.store, rows)}
    found = [known[u] for u in uids if u in known]
    return Shown(f"{len(found)} samples", run.store.url, PARTS.grid(map(grid.shown, found)), 620 if found else 120)


def _uids(what: Any) -> list[str]:
    if hasattr(what, "to_arrow_table"):
        what = what.to_arrow_table()
    try:
        column = what if isinstance(what, (list, tuple)) else what["uid"]
    except (KeyError, TypeError, IndexError) as e:
        raise RecipeError("show needs uids, or something with a column uid") from e
    return [str(u) for u in (column.to_pylist() if hasattr(column, "to_pylist") else column)]
