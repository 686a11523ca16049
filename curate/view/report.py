"""`RUN/report.html`: what a run did, in one file that needs nothing else."""

from curate.view import losses, sections
from curate.view.facts import Facts
from curate.view.grid import put
from curate.view.markup import page
from curate.view.run import Run

#: Rows that are looked at for everything but the counts; of a larger run, whole parts spread evenly over it.
ROWS = 200_000

#: The sections in order: the anchor, the heading, and what writes it (nothing: the section is left out).
SECTIONS = (
    ("funnel", "Funnel", sections.funnel),
    ("scores", "Scores and thresholds", sections.scores),
    ("languages", "Losses by language", losses.languages),
    ("documents", "Documents", sections.pages),
    ("kept", "Kept", sections.kept),
    ("dropped", "Dropped, by reason", sections.dropped),
    ("borderline", "At the thresholds", sections.borderline),
    ("duplicates", "Duplicates", sections.duplicates),
    ("captions", "Raw and synthetic captions", sections.captions),
    ("make-up", "Make-up", sections.makeup),
    ("balance", "Balance", sections.balance),
    ("speed", "Throughput", sections.speed),
    ("recipe", "Recipe", sections.recipe),
)


def write(run: Run, out: str | None = None, rows: int = ROWS) -> str:
    """Write the report of a finished run into its folder (or the file `out`); returns where it is."""
    return put(run, html_of(run, rows), "report.html", out)


def html_of(run: Run, rows: int = ROWS) -> str:
    """The report as text."""
    facts = Facts(run, rows)
    with facts.child:
        return _page(facts)


def _page(facts: Facts) -> str:
    made = [(anchor, heading, found) for anchor, heading, write_section in SECTIONS if (found := write_section(facts))]
    body = sections.SECTIONS.report(sections.head(facts), made)
    return page(f"{facts.name}: report", body, "sliders.js", "enlarge.js")
