"""The inputs of a run: ingested by workers, and recorded."""

from dataclasses import dataclass
from typing import Any

from curate.removed import Removed
from curate.score.ingest import ingest
from curate.score.target import Target
from curate.store.atomic import Store


@dataclass
class Ingest(Target):
    """Reads an input file into parts (score.ingest), for the engine. gone: what was taken down. there: the records of inputs that there are."""

    store: Store
    source: Any
    part_size: int
    known: dict[str, dict[str, Any]]  # by path, what files were known by when they were last read
    gone: Removed
    there: frozenset[str]

    def __call__(self, path: str, share: Any = None, names: Any = None, /) -> dict[str, Any]:
        return ingest(self.store, self.source, path, self.part_size, self.known.get(path), self.gone, self.there)


def slim(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Input records for recipe.json: path, size, hash, rows, the number of parts."""
    tables = lambda i: {t for p in i["parts"] for t in p["rows"]}  # noqa: E731
    return [
        {
            **{k: v for k, v in i.items() if k != "parts"},
            "rows": {t: sum(p["rows"].get(t, 0) for p in i["parts"]) for t in sorted(tables(i))},
            "parts": len(i["parts"]),
        }
        for i in inputs
    ]
