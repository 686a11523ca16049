"""Short runs of benchmarks/fuzz_tables.py and fuzz_columns.py (`make fuzz` has the long ones)."""

import importlib.util
import random
from pathlib import Path


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_tables_and_archives_end_in_rows_or_a_named_error():
    outcomes, findings = loaded("fuzz_tables").run(range(420), 1)
    assert findings == [] and sum(outcomes.values()) == 420 and {what for _, what in outcomes} == {"rows", "error"}


def test_columns_of_any_name_and_type_change_nothing_else(tmp_path):
    fuzz = loaded("fuzz_columns")
    more = fuzz.columns(random.Random("1:1"), fuzz.written_names())
    for listed in (False, True):
        bare, found = (fuzz.made(tmp_path / f"{listed}{len(c)}", listed, c) for c in ({}, more))
        assert found == bare and found[2] == []
