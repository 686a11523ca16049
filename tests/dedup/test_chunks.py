"""What selectors set down for the engine's workers."""

import numpy as np
import pytest

from curate.dedup import chunks


@pytest.mark.parametrize("rows", [[], [3], list(range(10)), [9, 0, 9, 4, 1, 2, 7]])
def test_rows_are_written_a_few_at_a_time(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(chunks, "_ROWS", 3)
    values = np.arange(40, dtype=np.uint16).reshape(10, 4)
    chunks.save_rows(tmp_path / "some.npy", values, np.array(rows, int))
    found = np.load(tmp_path / "some.npy")
    assert found.dtype == np.uint16 and np.array_equal(found, values[np.array(rows, int)])
