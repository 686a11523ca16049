"""RELIABILITY.md and SECURITY.md name a test for each promise: the tests are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("page", ["RELIABILITY.md", "SECURITY.md", "docs/architecture.md", "docs/cluster.md"])
def test_the_tests_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(\w+))?`", text)
    assert named
    for path, function in named:
        found = [ROOT / path] if "/" in path else list(ROOT.glob(f"tests/**/{path}"))
        found = [p for p in found if p.exists()]
        assert found, f"{page} names {path}"
        assert not function or any(f"def {function}(" in p.read_text() for p in found), f"{page} names {path}::{function}"


def test_a_row_of_a_table_of_promises_names_a_test():
    for page in ("RELIABILITY.md", "SECURITY.md"):
        rows = [
            line
            for line in (ROOT / page).read_text().splitlines()
            if line.startswith("|") and not line.startswith(("|---", "| promise"))
        ]
        without = [
            r for r in rows if "test" not in r.rsplit("|", 2)[1] and not re.search(r"the same|\d+ |make ", r.rsplit("|", 2)[1])
        ]
        assert rows and without == []
