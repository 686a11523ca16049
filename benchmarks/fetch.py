"""Fetch and store, per CPU-second, against img2dataset on the same web server and files; prints a table with ratios.

    python benchmarks/fetch.py --img2dataset ENV/bin/python [--photos 3000] [--rounds 3]

ENV is a virtual environment of its own: `pip install img2dataset==1.47.0 "pandas<3" "opencv-python-headless<5"
albumentations==1.4.24`. Without the option only curate is measured. Needs nginx, which runs with a configuration of this
script's own on loopback, and ends with it.

What is counted is user and system time of the client and of all its processes, the server's apart. A client's start (imports,
first connections) is measured with 16 photos and taken off in the column `net`.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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
    """Write photos of 640x480 and the lists of their URLs; returns their mean size in kB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.extras.demo.pairs import sample_photos

    (root / "www").mkdir()
    total = 0
    for i, data in enumerate(sample_photos(count)):
        (root / "www" / f"{i}.jpg").write_bytes(data)
        total += len(data)
    urls = [f"http://{HOSTS[i % len(HOSTS)]}:{PORT}/{i}.jpg" for i in range(count)]
    pq.write_table(pa.table({"url": urls}), root / "all.parquet")
    pq.write_table(pa.table({"url": urls[:FEW]}), root / "few.parquet")
    return total / count / 1000


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


def run_curate(mode: dict, listed: Path, out: Path) -> None:
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
        output_format="webdataset",
        processes_count=2,
        thread_count=32,
        number_sample_per_shard=1000,
        enable_wandb=False,
        **options,
    )
    done = sum(json.loads(p.read_text())["successes"] for p in (out / "tars").glob("*_stats.json"))
    import pyarrow.parquet as pq

    assert done == pq.read_metadata(listed).num_rows, done


CLIENTS = {"curate": run_curate, "img2dataset": run_img2dataset}


def cpu(python: str, name: str, mode: str, listed: Path) -> tuple[float, float]:
    """CPU seconds of a client with all its processes, and wall seconds."""
    env = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with tempfile.TemporaryDirectory() as out:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [python, __file__, "--client", name, mode, str(listed), out],
            check=True,
            env=env,
            stdout=subprocess.DEVNULL,
            timeout=600,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - started


def measure(root: Path, args: argparse.Namespace) -> dict[tuple[str, str], dict[str, list[float]]]:
    clients = {"curate": sys.executable, **({"img2dataset": args.img2dataset} if args.img2dataset else {})}
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for _ in range(args.rounds):
        for mode in MODES:
            for name, python in clients.items():  # one after the other in each round: what slows the machine slows both
                times = found.setdefault((mode, name), {"cpu": [], "start": [], "wall": []})
                times["start"].append(cpu(python, name, mode, root / "few.parquet")[0])
                spent, wall = cpu(python, name, mode, root / "all.parquet")
                times["cpu"].append(spent)
                times["wall"].append(wall)
    return found


def report(found: dict[tuple[str, str], dict[str, list[float]]], count: int, size: float) -> None:
    print(f"{count} JPEGs of 640x480, mean {size:.0f} kB, nginx on {len(HOSTS)} loopback hosts, {os.cpu_count()} cores")
    print(f"{'':20}{'':14}{'CPU s':>8}{'images/CPU-s':>14}{'net':>8}{'wall s':>8}{'ratio':>8}{'net':>8}")
    for mode in MODES:
        base = found.get((mode, "img2dataset"))
        for (m, name), times in found.items():
            if m != mode:
                continue
            whole, net = rates(times, count)
            ratio = "".join(f"{x:>8.1f}" for x in (whole / rates(base, count)[0], net / rates(base, count)[1])) if base else ""
            print(
                f"{mode:20}{name:14}{statistics.median(times['cpu']):8.1f}{whole:14.0f}{net:8.0f}"
                f"{statistics.median(times['wall']):8.1f}{ratio}"
            )


def rates(times: dict[str, list[float]], count: int) -> tuple[float, float]:
    """Images per CPU-second, with the client's start and without."""
    whole, start = statistics.median(times["cpu"]), statistics.median(times["start"])
    return count / whole, (count - FEW) / (whole - start)


if __name__ == "__main__":
    main()
