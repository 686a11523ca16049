"""The house in figures: lines, files, functions, docstrings, import closure of a filter, cycles.

    python -m benchmarks.house [--tree FOLDER] [--package NAME]

Lines are non-blank lines of Python, comments and docstrings included. The import closure of a module is the number of the
package's own modules that importing it loads, itself and each package's `__init__` included; imports inside functions do not
count, for they happen when the function runs. A cycle is a set of modules that import each other while they are loaded.
"""

import argparse
import ast
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, lines, functions as (lines, name, has a docstring, is public), and the modules it imports."""

    name: str
    lines: int
    functions: list[tuple[int, str, bool, bool]]
    imports: set[str]


def read(path: Path, root: Path, known: set[str]) -> Module:
    """Parse a file; `root` is the folder that holds the package, `known` the names of its modules."""
    text = path.read_text()
    tree, name = ast.parse(text), dotted(path, root)
    functions = [
        (
            node.end_lineno - node.lineno + 1,
            f"{name}.{node.name}",
            ast.get_docstring(node) is not None,
            not node.name.startswith("_"),
        )
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return Module(name, sum(1 for line in text.splitlines() if line.strip()), functions, set(imported(tree, name, path, known)))


def dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module, name: str, path: Path, known: set[str]) -> Iterator[str]:
    """The package's modules that loading this one loads: the statements outside functions and TYPE_CHECKING."""
    here = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in loaded(tree):
        if isinstance(node, ast.Import):
            found = [a.name for a in node.names]
        else:
            base = ".".join(here.split(".")[: len(here.split(".")) - node.level + 1]) if node.level else ""
            home = ".".join(filter(None, (base, node.module or "")))
            found = [f"{home}.{a.name}" if f"{home}.{a.name}" in known else home for a in node.names]
        for target in found:
            parts = target.split(".")
            yield from (p for p in (".".join(parts[:i]) for i in range(1, len(parts) + 1)) if p in known)


def loaded(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and not (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        ):
            yield from loaded(child)


def closure(modules: dict[str, Module], name: str) -> set[str]:
    seen, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one in modules and one not in seen:
            seen.add(one)
            waiting += [*modules[one].imports, one.rpartition(".")[0]]
    return seen


def cycles(modules: dict[str, Module]) -> list[list[str]]:
    """Sets of two and more modules that load each other, the largest first."""
    names = sorted(modules)
    at = {n: i for i, n in enumerate(names)}
    edges = [
        (at[m.name], at[i])
        for m in modules.values()
        for i in m.imports
        if i in at and i != m.name and not m.name.startswith(f"{i}.")
    ]
    rows, columns = zip(*edges) if edges else ((), ())
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), (rows, columns)), (len(names), len(names)))
    _, label = connected_components(graph, directed=True, connection="strong")
    groups = [[names[i] for i in np.flatnonzero(label == k)] for k in np.unique(label)]
    return sorted((g for g in groups if len(g) > 1), key=len, reverse=True)


def measure(root: Path, package: str) -> dict[str, object]:
    """All figures of a package in the folder `root`."""
    paths = sorted((root / package).rglob("*.py"))
    known = {dotted(p, root) for p in paths}
    modules = {m.name: m for m in (read(p, root, known) for p in paths)}
    functions = [f for m in modules.values() for f in m.functions]
    lengths, public = [f[0] for f in functions], [f for f in functions if f[3]]
    filters = [n for n in modules if n.startswith(f"{package}.filters.")]
    closures = sorted(len(closure(modules, n)) for n in filters)
    return {
        "lines": sum(m.lines for m in modules.values()),
        "files": len(modules),
        "median module": statistics.median(m.lines for m in modules.values() if m.lines),
        "functions": len(functions),
        "function median / p90 / max": [int(np.percentile(lengths, p)) for p in (50, 90, 100)],
        "longest functions": [f"{n} {name}" for n, name, _, _ in sorted(functions, reverse=True)[:8]],
        "longest files": [f"{m.lines} {m.name}" for m in sorted(modules.values(), key=lambda m: -m.lines)[:8]],
        "docstrings on public functions": round(sum(f[2] for f in public) / max(1, len(public)), 2),
        "import closure of a filter, median / max": [statistics.median(closures), closures[-1]] if closures else None,
        "smallest filter": min((modules[n].lines for n in filters), default=None),
        "cycles at import": cycles(modules),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tree", type=Path, default=Path(__file__).parent.parent, help="the folder that holds the package")
    options.add_argument("--package", default="curate", help="its name")
    args = options.parse_args()
    for name, value in measure(args.tree, args.package).items():
        print(
            f"{name}: {value if isinstance(value, (int, float, str)) else json.dumps(value, indent=1) if name.startswith('longest') else json.dumps(value)}"
        )


if __name__ == "__main__":
    main()
