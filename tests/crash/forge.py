"""Runs of the toy recipe, each in a process of its own that can be killed, made to fail, and run again.

`python forge.py` is a server: it imports everything once, starts no thread, and forks a child for each request.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import independent_checker  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from toys import recipe  # noqa: E402

from curate.store import atomic, failpoints  # noqa: E402

atomic.FRESH = 0.0  # drivers are killed all the time, and have no workers


def toy(folder: str, half: float = 0.5):
    """110 rows in three parts; 30 samples in two shards, fewer with a larger `half`."""
    return recipe([f"{folder}/in/*.txt"], size=15, half=half)


def inputs(folder: Path) -> Path:
    """The input files of a run, beside it."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "in" / "a.txt").write_text("70")
    (folder / "in" / "b.txt").write_text("40")
    return folder


# ---- in the server


def work(request: dict) -> dict:
    """One run; what came of it."""
    import curate.runner.driver
    from curate.errors import CurateError

    if request["spec"] or request["log"]:
        failpoints.PLAN, failpoints.at = failpoints.Plan(request["spec"], request["log"]), failpoints._armed
    try:
        if request["urls"]:
            return take(f"{request['folder']}/run", request["urls"])
        made = curate.runner.driver.run(
            toy(request["folder"], request["half"]), f"{request['folder']}/run", engine="local", part_size=50
        )
        return {"root": made.dataset["root_hash"], "computed": {k: c["computed"] for k, c in made.counters.items()}}
    except CurateError as e:
        return {"error": str(e)}
    except BaseException:
        return {"broken": traceback.format_exc()}


def take(run: str, urls: list[str]) -> dict:
    """Take down these URLs."""
    from curate.removed import Removed, url_digest
    from curate.runner.driver import write_pages
    from curate.store.atomic import Store
    from curate.upkeep.takedown import takedown
    from curate.view.run import open_run

    takedown(Store(run), Removed(urls=set(map(url_digest, urls))), lambda: write_pages(open_run(run)))
    return {"root": open_run(run).dataset["root_hash"]}


def serve() -> None:
    import pyarrow.dataset  # noqa: F401  imported here once, and not in every child

    import curate.runner.driver  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            with os.fdopen(write, "w") as f:
                json.dump(work(request), f)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as f:
            said = f.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"status": status, **(json.loads(said) if status == 0 else {})}), flush=True)


# ---- in the tests


@dataclass
class Forge:
    """A server; `run` asks it for one run and tells what came of it."""

    process: subprocess.Popen = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )

    def run(self, folder: Path, spec: str = "", log: str = "", half: float = 0.5, urls: tuple[str, ...] = ()) -> dict:
        request = {"folder": str(folder), "spec": spec, "log": log, "half": half, "urls": urls}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the forge died")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def kind(place: str) -> str:
    """A place without the numbers and hashes in its name: what sort of step on what sort of file it is."""
    return re.sub(r"[0-9a-f]{12,}|\d{2,}", "#", place)


def glob(place: str) -> str:
    """The place in any attempt: leases are numbered by attempts."""
    return re.sub(r"lease/\d+", "lease/*", place)


def half_files(run: Path, seen: dict) -> Iterator[str]:
    """What is wrong with the files that can be seen in a run's folder at this moment; a file without a name is in `.private`.

    `seen` keeps what was looked at before: a file is looked at again when it has changed.
    """
    for path in sorted(run.rglob("*")):
        if ".private" in path.parts or not path.is_file():
            continue
        stat = path.stat()
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen.get(path) == mark:
            continue
        try:
            whole(path)
            seen[path] = mark
        except Exception as e:
            yield f"{path.relative_to(run)}: {type(e).__name__}: {e}"
    if (run / "dataset.json").exists():
        dataset = json.loads((run / "dataset.json").read_text())
        for shard in dataset["shards"]:
            for ending in ("tar", "parquet"):
                data = (run / "shards" / f"{shard['name']}.{ending}").read_bytes()
                if hashlib.sha256(data).hexdigest() != shard[ending]["sha256"]:
                    yield f"shards/{shard['name']}.{ending}: dataset.json is there, and names other bytes"


def whole(path: Path) -> None:
    """Raise if a file is not whole."""
    if path.suffix == ".parquet":
        pq.ParquetFile(path, page_checksum_verification=True).read()
    elif path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".tar":
        data = path.read_bytes()
        assert data.endswith(bytes(1024)), "no end"
        assert len(path.stem) != 32 or hashlib.sha256(data).hexdigest().startswith(path.stem), "not the bytes of its name"
        with tarfile.open(path, "r:") as tar:
            assert all(len(tar.extractfile(m).read()) == m.size for m in tar)


def outcome(run: Path) -> list[tuple]:
    """Every row of the ledger with what became of it."""
    columns = ["source_file", "source_row", "uid", "drop_reason", "drop_stage", "shard", "key"]
    rows = [r for f in sorted((run / "ledger/images").iterdir()) for r in pq.read_table(f, columns=columns).to_pylist()]
    return sorted((Path(r["source_file"]).name, *(str(r[c]) for c in columns[1:])) for r in rows)


def wrong(run: Path, golden: dict) -> list[str]:
    """What distinguishes a finished run from the one that nothing disturbed."""
    from curate.store.atomic import Store
    from curate.upkeep.check import check

    found = check(Store(run))
    if independent_checker.main(str(run)):
        found.append("the independent checker found something")
    if json.loads((run / "dataset.json").read_text())["root_hash"] != golden["root"]:
        found.append("another root hash")
    if outcome(run) != golden["outcome"]:
        found.append("other outcomes in the ledger")
    return found


@dataclass
class Scene:
    """A folder in which a run begins: empty, or with a finished run whose bounds were others, so that files are replaced."""

    forge: Forge
    folder: Path
    replaced: bool
    golden: dict = field(init=False)

    def __post_init__(self):
        self.start = None
        if self.replaced:
            assert "root" in self.forge.run(self.fresh(), half=0.8)
            self.start = shutil.copytree(self.folder / "work/run", self.folder / "start")
        golden, log = self.fresh(), self.folder / "places"
        said = self.forge.run(golden, log=str(log))
        self.golden = {"root": said["root"], "outcome": outcome(golden / "run")}
        first: dict[str, str] = {}
        for place in log.read_text().splitlines():
            first.setdefault(kind(place), place)
        self.places = list(first.values())

    def fresh(self) -> Path:
        """A folder as a run finds it at first; always the same path, because input files are known by theirs."""
        work = self.folder / "work"
        if work.exists():
            shutil.rmtree(work)
        inputs(work)
        if self.start:
            shutil.copytree(self.start, work / "run")
        return work


def walk(scene: Scene, places: list[str], faults: list[str]) -> Iterator[str]:
    """Let each attempt go wrong at the next place, look at what can be seen, go on; at the end, what is wrong with the run.

    The faults take turns.
    """
    work, seen = scene.fresh(), {}
    for place, fault in zip(places, itertools.cycle(faults)):
        said = scene.forge.run(work, spec=f"{fault}@{glob(place)}")
        if fault == "kill" and said["status"] != -9:
            yield f"{place}: not killed, but {said}"
        if place.endswith(".done"):
            continue  # the run is finished; that its lease could not be ended is only told
        if fault != "kill" and not any(
            w in said.get("error", "") for w in ("cannot write", "cannot be removed", "the disk holds")
        ):
            yield f"{place}: {fault} ended in {said}"
        yield from (f"{fault}@{place}: {half}" for half in half_files(work / "run", seen))
    said = scene.forge.run(work)
    if "root" not in said:
        yield f"after {faults} at all of {places}: {said}"
        return
    yield from (f"after {faults} at all of {places}: {f}" for f in wrong(work / "run", scene.golden))


if __name__ == "__main__":
    serve()
