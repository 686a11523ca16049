"""Whole runs and the fetch stage alone against img2dataset on the same web server and files; prints a table with ratios.

    python benchmarks/fetch.py --img2dataset ENV/bin/python [--photos 3000] [--rounds 3]

ENV is a virtual environment of its own: `pip install img2dataset==1.47.0 "pandas<3" "opencv-python-headless<5"
albumentations==1.4.24`. Without the option only curate is measured. Needs nginx, which runs with a configuration of this
script's own on loopback, and ends with it.

Photos are of four sizes, 320x240 to 1280x960, from one list of URLs with captions. `curate run` is the whole run on the local engine,
list to shards, ledger and report, `curate run, Ray` the same on Ray; `curate, stage` is what one worker does with one part.

What is counted is user and system time of the client and of all its processes, the server's apart. A client's start (imports,
first connections) is measured with 16 photos and taken off in the column `net`.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.tree import watch

SIZES = ((320, 240), (640, 480), (800, 600), (1280, 960))
HOSTS, PORT = [f"127.0.0.{n}" for n in range(2, 10)], 18970
MODES = {"originals": {}, "256 px keep_ratio": {"resize_mode": "keep_ratio", "image_size": 256}}
FEW = 16

NGINX = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; types {{ image/jpeg jpg; }}
  client_body_temp_path {root}/tmp; proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp; uwsgi_temp_path {root}/tmp;
  scgi_temp_path {root}/tmp;
  server {{ {listen} root {root}/www; }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--img2dataset", metavar="PYTHON", help="the Python of an environment that has img2dataset")
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)  # how this script runs a client in a process of its own
    args = parser.parse_args()
    if args.client:
        name, mode, listed, out = args.client
        return CLIENTS[name](MODES[mode], Path(listed), Path(out))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = photos(root, args.photos)
        with nginx(root):
            report(measure(root, args), args.photos, size)
    return None


def photos(root: Path, count: int) -> float:
    """Write photos of mixed sizes and the lists of their URLs; returns their mean size in kB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "www").mkdir()
    total = 0
    for i, data in enumerate(mixed(count)):
        (root / "www" / f"{i}.jpg").write_bytes(data)
        total += len(data)
    urls = [f"http://{HOSTS[i % len(HOSTS)]}:{PORT}/{i}.jpg" for i in range(count)]
    pairs = pa.table({"url": urls, "text": [f"a photo of number {i}" for i in range(count)]})
    pq.write_table(pairs, root / "all.parquet")
    pq.write_table(pairs[:FEW], root / "few.parquet")
    return total / count / 1000


def mixed(count: int) -> Iterator[bytes]:
    """JPEGs of the sizes in turn."""
    from curate.extras.demo.pairs import sample_photos

    each = [sample_photos(math.ceil(count / len(SIZES)), size) for size in SIZES]
    for i in range(count):
        yield each[i % len(SIZES)][i // len(SIZES)]


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[None]:
    (root / "tmp").mkdir()
    root.chmod(0o755)  # its workers are another user
    config = root / "nginx.conf"
    config.write_text(NGINX.format(root=root, listen=" ".join(f"listen {h}:{PORT};" for h in HOSTS)))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with subprocess.Popen([program, "-c", str(config), "-e", str(root / "error.log")]) as server:
        try:
            time.sleep(1)
            if server.poll() is not None:
                sys.exit(f"nginx did not start: {(root / 'error.log').read_text()}")
            yield
        finally:
            server.terminate()


# ---- the clients, each in a process of its own


def run_curate(mode: dict, listed: Path, out: Path, engine: str = "local") -> None:
    """The whole run: a list of URLs and captions to shards."""
    from curate.fetch.stage import Fetch
    from curate.recipe import Recipe
    from curate.runner.driver import run
    from curate.sources.url_pairs import UrlPairs

    fetch = Fetch(allow_private=("127.0.0.0/8",), per_host=16, **mode)
    recipe = Recipe(UrlPairs(str(listed)), [fetch], name="fetch")
    made = run(recipe, str(out / "run"), engine=engine, part_size=1000)
    assert made.dataset["samples"] == pq_rows(listed), made.dataset


def pq_rows(listed: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(listed).num_rows


def run_stage(mode: dict, listed: Path, out: Path) -> None:
    """One part: fetched, inspected, hashed, parked in a tar, committed with its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate import schema
    from curate.fetch.stage import Fetch
    from curate.store.atomic import Store
    from curate.store.payload import Parcel

    urls = pq.read_table(listed)["url"].to_pylist()
    uids = [schema.uid(None, u) for u in urls]
    live = pa.table({"uid": pa.array(uids, pa.large_string()), "url": pa.array(urls, pa.large_string())})
    store = Store(out)
    with store.private("part.tar") as path:
        with open(path, "wb") as file:
            parcel = Parcel(store, file)
            columns = Fetch(allow_private=("127.0.0.0/8",), per_host=16, **mode).run(live, parcel)
            parcel.close()
        store.commit("part.tar", path)
    store.commit_table("part.parquet", columns)
    done = columns["fetch"].to_pylist().count("ok")
    assert done == len(urls), columns["fetch"].value_counts()


def run_img2dataset(mode: dict, listed: Path, out: Path) -> None:
    """Two processes of 32 threads, tars; its defaults otherwise, with hashes (they are on by default)."""
    from img2dataset import download

    options = mode or {"disable_all_reencoding": True, "resize_mode": "no"}
    download(
        str(listed),
        output_folder=str(out / "tars"),
        input_format="parquet",
        url_col="url",
        caption_col="text",
        output_format="webdataset",
        processes_count=2,
        thread_count=32,
        number_sample_per_shard=1000,
        enable_wandb=False,
        **options,
    )
    done = sum(json.loads(p.read_text())["successes"] for p in (out / "tars").glob("*_stats.json"))
    assert done == pq_rows(listed), done


CLIENTS = {
    "curate run": run_curate,
    "curate run, Ray": partial(run_curate, engine="ray"),
    "curate, stage": run_stage,
    "img2dataset": run_img2dataset,
}


def cpu(python: str, name: str, mode: str, listed: Path) -> tuple[float, float]:
    """CPU seconds of a client with all its processes, and wall seconds."""
    env = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with tempfile.TemporaryDirectory() as out:
        command = [python, __file__, "--client", name, mode, str(listed), out]
        used = watch(command, Path(out) / "log", env=env, cwd=Path(out), timeout=600)
        if used.code:
            sys.exit(f"{name}: exit {used.code}: {(Path(out) / 'log').read_text()[-500:]}")
    return used.cpu, used.wall


def measure(root: Path, args: argparse.Namespace) -> dict[tuple[str, str], dict[str, list[float]]]:
    pythons = {name: sys.executable for name in CLIENTS} | {"img2dataset": args.img2dataset}
    clients = {name: python for name, python in pythons.items() if python}
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for _ in range(args.rounds):
        for mode in MODES:
            for name, python in clients.items():  # one after the other in each round: what slows the machine slows both
                times = found.setdefault((mode, name), {"cpu": [], "start": [], "wall": [], "start wall": []})
                start, start_wall = cpu(python, name, mode, root / "few.parquet")
                times["start"].append(start)
                times["start wall"].append(start_wall)
                spent, wall = cpu(python, name, mode, root / "all.parquet")
                times["cpu"].append(spent)
                times["wall"].append(wall)
    return found


def report(found: dict[tuple[str, str], dict[str, list[float]]], count: int, size: float) -> None:
    print(
        f"{count} JPEGs of {len(SIZES)} sizes, mean {size:.0f} kB, nginx on {len(HOSTS)} loopback hosts, {os.cpu_count()} cores"
    )
    print(f"{'':20}{'':18}{'CPU s':>8}{'images/CPU-s':>14}{'net':>8}{'ratio':>8}{'net':>8}{'wall s':>8}{'ratio':>8}{'net':>8}")
    for mode in MODES:
        base = found.get((mode, "img2dataset"))
        for (m, name), times in found.items():
            if m != mode:
                continue
            whole, net = rates(times, count, "cpu", "start")
            cpu, wall = (ratios(times, base, count, *kinds) for kinds in (("cpu", "start"), ("wall", "start wall")))
            print(
                f"{mode:20}{name:18}{statistics.median(times['cpu']):8.1f}{whole:14.0f}{net:8.0f}{cpu}"
                f"{statistics.median(times['wall']):8.1f}{wall}"
            )


def rates(times: dict[str, list[float]], count: int, spent: str, start: str) -> tuple[float, float]:
    """Images per second (of CPU, or of wall time), with the client's start and without."""
    whole, begin = statistics.median(times[spent]), statistics.median(times[start])
    return count / whole, (count - FEW) / (whole - begin)


def ratios(times: dict[str, list[float]], base: dict[str, list[float]] | None, count: int, spent: str, start: str) -> str:
    """Rates as multiples of those of img2dataset."""
    if base is None:
        return f"{'':16}"
    return "".join(f"{a / b:8.2f}" for a, b in zip(rates(times, count, spent, start), rates(base, count, spent, start)))


if __name__ == "__main__":
    main()
