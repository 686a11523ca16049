"""Every benchmark can be imported: none names something that is gone."""

import importlib
from pathlib import Path

import pytest

MODULES = sorted(f.stem for f in (Path(__file__).parents[1] / "benchmarks").glob("*.py") if not f.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported(name):
    if name == "contacts":
        pytest.importorskip("phonenumbers")  # only this benchmark needs it
    importlib.import_module(f"benchmarks.{name}")
