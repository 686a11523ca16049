"""Imports point down: a module may import from lower floors and its own, never from above; heavy libraries have one home."""

import ast
import subprocess
import sys
from pathlib import Path

import curate

ROOT = Path(curate.__file__).parent

#: The floor of each module or package below curate; a package's modules share its floor.
FLOORS = {
    "schema": 0,
    "errors": 0,
    "failpoints": 0,
    "contained": 1,
    "stage": 1,
    "selector": 1,
    "source": 1,
    "store": 1,
    "models": 1,
    "captioners": 1,
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
    "export": 2,
    "shards": 2,
    "seal": 2,
    "removed": 2,
    "members": 2,
    "weights": 2,
    "look": 2,
    "verdicts": 2,
    "recipe": 3,
    "part": 3,
    "work": 3,
    "pool": 3,
    "lease": 3,
    "report": 3,
    "grid": 3,
    "check": 3,
    "repair": 3,
    "gc": 3,
    "progress": 3,
    "engine": 4,
    "driver": 4,
    "recipes": 4,
    "planning": 4,
    "evaluate": 4,
    "cli": 5,
    "arguments": 5,
    "proving": 5,
    "demo": 5,
    "__main__": 5,
    "story": 3,
    "difference": 3,
    "adopt": 3,
    "ray_token": 3,
    "takedown": 3,
    "card": 3,
    "croissant": 3,
    "gallery": 3,
    "annotate": 3,
    "agreement": 3,
    "watch": 3,
    "doctor": 4,
    "costs": 4,
    "looking": 5,
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
