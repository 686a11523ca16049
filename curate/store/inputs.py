"""The inputs of a run: in its recipe.json, or, where there are many, in a table beside it."""

import json
import os
from typing import Any

import pyarrow as pa

from curate.store.atomic import Store

#: The table, a row each with its record as JSON, where there are more than so many.
INPUTS, FEW = "inputs.parquet", 1000


def run_record(store: Store) -> dict[str, Any] | None:
    """What recipe.json says, with the inputs also of a run that has them in a table; None if there is none."""
    found = store.json("recipe.json")
    if isinstance(found, dict) and isinstance(found.get("inputs"), dict):
        found["inputs"] = [json.loads(line) for line in store.table(INPUTS)["record"].to_pylist()]
    return found


def listed(store: Store, inputs: list[dict[str, Any]]) -> list[dict[str, Any]] | dict[str, Any]:
    """The inputs for recipe.json: as they are, or, beyond FEW, what names the table that they are written to."""
    if len(inputs) <= FEW:
        return inputs
    lines = {"path": [i["path"] for i in inputs], "record": [json.dumps(i) for i in inputs]}
    store.publish_table(INPUTS, pa.table({k: pa.array(v, pa.large_string()) for k, v in lines.items()}))
    return {"table": INPUTS, "files": len(inputs)}


def is_input(store: Store, path: str) -> bool:
    """Whether a full path or URL is one of the run's inputs, by its record."""
    if path not in store.inputs:  # there may be more since it was looked at
        paths = [i["path"] for i in (run_record(store) or {}).get("inputs", [])]
        store.inputs = frozenset(p if "://" in p else os.path.abspath(p) for p in paths)
    return path in store.inputs
