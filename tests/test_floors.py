"""Imports point down: a module may import from lower floors and its own, never from above; heavy libraries have one home."""

import ast
import subprocess
import sys
from pathlib import Path

import curate

ROOT = Path(curate.__file__).parent

#: The floor of each module or package below curate; a package's modules share its floor.
FLOORS = {
    # the words: tables, errors
    "schema": 0,
    "errors": 0,
    "failpoints": 0,
    # what a step is, where its results are kept, models
    "stage": 1,
    "selector": 1,
    "source": 1,
    "store": 1,
    "parquet": 1,
    "pieces": 1,
    "memory": 1,
    "payload": 1,
    "contained": 1,
    "models": 1,
    "captioners": 1,
    "weights": 1,
    # steps and sources
    "sources": 2,
    "fetch": 2,
    "filters": 2,
    "dedup": 2,
    "balance": 2,
    "synth": 2,
    "documents": 2,
    "videos": 2,
    "where": 2,
    "top_fraction": 2,
    # what a run leaves
    "shards": 2,
    "export": 2,
    "members": 2,
    "seal": 2,
    "removed": 2,
    # a recipe, and a run's parts and tables
    "recipe": 3,
    "part": 3,
    "ingest": 3,
    "work": 3,
    "tables": 3,
    "pool": 3,
    "ledger": 3,
    "layout": 3,
    "ray_token": 3,
    # for people
    "reporting": 3,
    "judging": 3,
    # for later
    "upkeep": 3,
    # running it
    "lanes": 4,
    "engine": 4,
    "opened": 4,
    "driver": 4,
    "recipes": 4,
    "planning": 4,
    "evaluate": 4,
    # the outside
    "cli": 5,
    "demo": 5,
    "__init__": 5,
}

#: Libraries that only these modules import.
HOMES = {
    "ray": {"engine"},
    "torch": {"models", "captioners"},
    "open_clip": {"models", "captioners"},
    "transformers": {"models", "captioners"},
    "vllm": {"captioners"},
}

#: Functions that a lower module borrows from the demo's package when the small model is asked for by name.
BORROWED = {("models", "demo")}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield parts[0], path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names if node.module == "curate")


def test_every_module_has_a_floor():
    assert {home for home, _ in modules()} <= set(FLOORS)


def test_imports_point_down():
    wrong = []
    for home, path in modules():
        for name in imports(path):
            target = name.split(".")[1] if name.startswith("curate.") else None
            if target in FLOORS and FLOORS[target] > FLOORS[home] and (home, target) not in BORROWED:
                wrong.append(
                    f"{path.relative_to(ROOT)} (floor {FLOORS[home]}) imports curate.{target} (floor {FLOORS[target]})"
                )
    assert not wrong


def test_heavy_libraries_have_one_home():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for home, path in modules()
        for name in imports(path)
        if home != "demo" and home not in HOMES.get(name.split(".")[0], {home})
    ]
    assert not wrong


def test_importing_curate_is_light():
    code = "import sys, curate; print([m for m in ('ray', 'torch', 'open_clip', 'transformers', 'faiss', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_is_there():
    """They are looked up by the names of their modules, as strings."""
    assert all(callable(getattr(curate, name)) for name in curate.__all__)
