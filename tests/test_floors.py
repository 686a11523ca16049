"""Imports point down: a module may import from lower floors and its own, never from above; heavy libraries have one home."""

import ast
import subprocess
import sys
from pathlib import Path

import curate

ROOT = Path(curate.__file__).parent

#: The levels of the architecture, lowest first: the modules at the top of `curate` are words, each folder has one level.
LEVELS = (
    ("cost", "errors", "schema", "paths", "preprocess", "stage", "selector", "source", "recipe", "settings", "web"),
    ("store",),
    ("models",),
    ("sources", "fetch", "filters", "documents", "videos", "synth", "dedup", "balance", "score", "select", "shard", "removed"),
    ("view",),
    ("upkeep",),
    ("runner",),
    ("cli", "extras", "__init__"),
)
FLOORS = {name: level for level, names in enumerate(LEVELS) for name in names}

#: The steps that every recipe begins with, and that none names.
EXCUSED = {("recipe.py", "dedup"), ("recipe.py", "fetch")}

#: Libraries that only these folders import.
HOMES = {
    "ray": {"runner", "view"},
    "torch": {"models", "synth"},
    "open_clip": {"models", "synth"},
    "transformers": {"models", "synth"},
    "vllm": {"synth"},
}


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
            if target in FLOORS and FLOORS[target] > FLOORS[home] and (path.name, target) not in EXCUSED:
                wrong.append(
                    f"{path.relative_to(ROOT)} (floor {FLOORS[home]}) imports curate.{target} (floor {FLOORS[target]})"
                )
    assert not wrong


def test_heavy_libraries_have_one_home():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for home, path in modules()
        for name in imports(path)
        if home != "extras" and home not in HOMES.get(name.split(".")[0], {home})
    ]
    assert not wrong


def test_importing_curate_is_light():
    code = "import sys, curate; print([m for m in ('ray', 'torch', 'open_clip', 'transformers', 'faiss', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_is_there():
    """They are looked up by the names of their modules, as strings."""
    assert all(callable(getattr(curate, name)) for name in curate.__all__)
