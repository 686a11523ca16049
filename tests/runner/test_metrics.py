"""What a run on Ray did, as Prometheus sees it."""

import re
import time
import urllib.request

import pytest
from toys import recipe

from curate.runner.driver import Driver
from curate.runner.engine import RayEngine
from curate.store.atomic import Store
from curate.view.progress import Quiet

pytest.importorskip("opencensus", reason="Ray's metrics agent comes with ray[default]")
pytest.importorskip("prometheus_client")


def test_rows_seconds_and_bytes_are_served(inputs, tmp_path):
    engine = RayEngine(workers=2)
    try:
        made = recipe([inputs / "b.txt"]).check()
        engine.ship_user_code([made.source, *made.steps])
        done = Driver(made, Store(str(tmp_path / "run")), engine, 250, False, Quiet(), None).run()
        node = engine.ray.nodes()[0]
        expected = {name: c["computed"] for name, c in done.counters.items() if c["computed"]}
        text, rows, until = "", {}, time.monotonic() + 60
        while not ("ray_curate_bytes_total{" in text and rows == expected) and time.monotonic() < until:
            time.sleep(0.5)
            with urllib.request.urlopen(
                f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10
            ) as answer:
                text = answer.read().decode()
            rows = {m[1]: float(m[2]) for m in re.finditer(r'^ray_curate_rows_total\{.*stage="(\w+)".*\} (\S+)$', text, re.M)}
    finally:
        engine.shutdown()
    assert rows == expected and rows
    assert "ray_curate_seconds_total{" in text and "ray_curate_bytes_total{" in text
