"""`make chaos`: every failpoint with every fault, then kills of driver, worker, actor and whole process tree, drawn with a seed.

After each kill: no half file can be seen. After each round: the run is finished, and root hash, ledger and shards are those of a
run that nothing disturbed, by `curate check` and by the independent checker. `python -m benchmarks.chaos --seeds 1 2 3 --kills 70`.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "crash"), str(ROOT / "tests"), str(ROOT)]

from forge import Forge, Scene, half_files, inputs, outcome, walk, wrong  # noqa: E402

STEPS = ("open", "fsync", "name", "sync", "named", "remove", "removed")
#: The faults that can happen at a step; after the name is given nothing can fail any more but the process.
FAULTS = {
    "open": ("kill", "eio", "enospc"),
    "fsync": ("kill", "eio", "enospc", "short"),
    "name": ("kill", "eio", "enospc"),
    "sync": ("kill",),
    "named": ("kill",),
    "remove": ("kill", "eio"),
    "removed": ("kill",),
}

#: One run over the toy recipe, slow enough to be hit in the middle; its selectors exchange rows through the run's folder.
CHILD = """
import sys; sys.path[:0] = {path!r}
from slow_toys import slow
from curate.runner.driver import run
from curate.select import exchange, pool
pool.ROWS = exchange.ROWS = 20
made = run(slow({folder!r}), {folder!r} + "/run", engine={engine!r}, workers=2, part_size=10)
print(made.dataset["root_hash"])
"""


def walks(forge: Forge, folder: Path) -> collections.Counter:
    """Every kind of place with every fault it can have, in an empty folder and over a finished run."""
    counts: collections.Counter = collections.Counter()
    for replaced in (False, True):
        scene = Scene(forge, folder / f"walk-{replaced}", replaced)
        for step in STEPS:
            places = [p for p in scene.places if p.startswith(f"{step} ")]
            for fault in FAULTS[step]:
                found = list(walk(scene, places, [fault])) if places else []
                if found:
                    raise SystemExit("\n".join(found))
                counts[fault] += len(places)
    return counts


def processes(home: Path) -> dict[int, str]:
    """The processes that live in a folder, with their command lines; Ray's inherit the driver's, and write over their environment."""
    found = {}
    for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == str(home):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
    return found


def aim(what: str, driver: int, alive: dict[int, str], dice: random.Random) -> list[int]:
    """Whom to kill."""
    workers = [p for p, c in alive.items() if c.startswith("ray::") and "_Keeper" not in c]
    actors = [p for p, c in alive.items() if c.startswith("ray::_Keeper")]
    if what == "tree":
        return [driver, *alive]
    pool = {"driver": [driver], "worker": workers, "actor": actors}[what]
    return [dice.choice(pool)] if pool else []


def kill(pids: list[int]) -> int:
    hit = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            continue
    return hit


def round_of(folder: Path, engine: str, kills: int, dice: random.Random, counts: collections.Counter) -> None:
    """Start, kill, start again, until `kills` kills have hit; then let it end. Raises SystemExit with what is wrong."""
    code = CHILD.format(path=sys.path[:3], folder=str(folder), engine=engine)
    seen: dict = {}
    left = kills
    while True:
        home = folder / uuid.uuid4().hex
        home.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        ready = time.monotonic() + (dice.uniform(0.2, 1.8) if engine == "local" else dice.uniform(3, 9))
        while left and child.poll() is None:
            time.sleep(max(0.0, ready - time.monotonic()))
            what = dice.choice(
                ["driver", "tree"] if engine == "local" else ["driver", "worker", "worker", "worker", "actor", "actor", "tree"]
            )
            while child.poll() is None:  # whom the dice chose may not live yet
                if kill(aim(what, child.pid, processes(home), dice)):
                    counts[what] += 1
                    left -= 1
                    break
                time.sleep(0.05)
            _no_half_files(folder, seen)
            ready = time.monotonic() + dice.uniform(0.2, 1.0)
        child.communicate()
        time.sleep(0.2)
        kill(list(processes(home)))  # what a dead driver left behind would die by itself, but later
        _no_half_files(folder, seen)
        if child.returncode == 0 and not left:
            return
        if child.returncode == 0:  # finished before the kills were used up: begin anew
            shutil.rmtree(folder / "run")


def _no_half_files(folder: Path, seen: dict) -> None:
    if (folder / "run").exists():
        try:
            half = list(half_files(folder / "run", seen))
        except FileNotFoundError:
            return  # a file went while we looked; the next look tells
        if half:
            raise SystemExit("\n".join(half))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kills", type=int, default=70, help="with each seed")
    parser.add_argument("--ray", type=int, default=22, help="of them on Ray; the others on the local engine")
    parser.add_argument("--walk", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    forge, began = Forge(), time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        if args.walk:
            print(f"walk: {dict(walks(forge, Path(name)))} faults, all survived, {time.monotonic() - began:.0f} s", flush=True)
        for seed in args.seeds:
            dice, counts = random.Random(seed), collections.Counter()
            for engine, kills in (("local", args.kills - args.ray), ("ray", args.ray)):
                folder = inputs(Path(name) / f"{seed}-{engine}")
                round_of(folder, engine, kills, dice, counts)
                _compare(folder, seed, engine)
            print(
                f"seed {seed}: killed {json.dumps(counts)}: nothing lost, nothing doubled, same root hash, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    forge.close()


def _compare(folder: Path, seed: int, engine: str) -> None:
    """The run against one that nothing disturbed; input files are known by their path, so that one reads the same ones."""
    code = CHILD.format(path=sys.path[:3], folder=str(folder), engine="local").replace('+ "/run"', '+ "/calm"')
    root = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    found = wrong(folder / "run", {"root": root, "outcome": outcome(folder / "calm")})
    if found:
        raise SystemExit(f"seed {seed}, {engine}: " + "\n".join(found))


if __name__ == "__main__":
    main()
