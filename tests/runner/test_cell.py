"""A recipe with a filter of its own, written and run where a notebook's cells are: in `__main__`, which is in no file."""

import subprocess
import sys

CELL = '''
from dataclasses import dataclass
import curate
from curate import *

@dataclass
class LongWords(Filter):
    """Words of more than five letters."""

    reads = ("text",)
    min: float | None = 1

    def score(self, live):
        return [None if t is None else sum(len(w) > 5 for w in t.split()) for t in live["text"].to_pylist()]

made = curate.run(Recipe(UrlPairs("list.csv"), score=[LongWords()], shards=None, name="mine"), "run", workers=1)
print(made)
'''


def test_a_cell_s_own_filter_runs_on_ray(tmp_path):
    (tmp_path / "list.csv").write_text("url,text\nhttp://a.example/1.jpg,a wonderful dog\nhttp://a.example/2.jpg,a cat\n")
    out = subprocess.run([sys.executable, "-c", CELL], cwd=tmp_path, capture_output=True, text=True)
    assert "<run mine in " in out.stdout and "1 of 2 images kept" in out.stdout, out.stderr
