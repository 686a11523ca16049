"""Runs tests/cluster/every_selector.py: a driver in a process of its own.

python driver.py POOL OUT ENGINE ADDRESS FILES.json ROWS_A_CHUNK
"""

import importlib.util
import json
import sys
from pathlib import Path

from curate.runner.driver import run
from curate.select import exchange, pool
from curate.sources.webdataset import WebDataset

source, out, engine, address, files, rows = sys.argv[1:]
# Chunks of a few rows: a small pool goes the way of a large one. Only the driver cuts.
pool.ROWS = exchange.ROWS = int(rows)
spec = importlib.util.spec_from_file_location("every_selector", Path(files).parent / "every_selector.py")
module = importlib.util.module_from_spec(spec)
sys.modules["every_selector"] = module
spec.loader.exec_module(module)
made = run(
    module.recipe(WebDataset((source,)), json.loads(Path(files).read_text())),
    out,
    engine=engine,
    address=address or None,
    part_size=40,
)
print(made.dataset["root_hash"], made.dataset["samples"])
