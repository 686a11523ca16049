"""Fixtures that every test may use."""

import pytest


@pytest.fixture
def inputs(tmp_path):
    """Two input files of the toy source."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, rows in (("a.txt", 1100), ("b.txt", 400)):
        (folder / name).write_text(str(rows))
    return folder
