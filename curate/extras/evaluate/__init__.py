"""`curate evaluate`: compares sets of samples by the models trained on them, as DataComp does (Gadre et al. 2023, 2304.14108): model,
trainer and number of samples seen are the same, only the samples differ. Several seeds measure the variance.

    FOLDER/sets/            shards made for the comparison: the pool, and a random subset of it
    FOLDER/trainings/       one folder a training, in open_clip's own format, with its measurements
    FOLDER/evaluation.json  all measurements; evaluation.html shows them
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.errors import PoolError, RecipeError
from curate.extras.evaluate.heldout import HeldOut, open_held_out
from curate.extras.evaluate.outcome import Outcome
from curate.extras.evaluate.sets import Draw, Set, named, open_draw, write_fetched
from curate.extras.evaluate.trainer import DONE, Training, configuration, job
from curate.recipe import versions
from curate.stage import digest
from curate.store.atomic import Store
from curate.store.lease import held
from curate.view.progress import Quiet

#: Packages that open_clip's trainer imports besides open_clip.
NEEDS = ("webdataset", "pandas")
#: The sets that are made from a pool.
POOLED = ("random subset", "pool")


def evaluate(
    runs: list[str],
    held_out: list[str],
    out: str,
    pool: str | None = None,
    samples_seen: int | None = None,
    seeds: int = 3,
    how: Training | None = None,
    progress: Any = None,
) -> Outcome:
    """Train the same model on each set, once for each seed, and measure it on each held-out set; resumes an interrupted evaluation.

    runs: `[NAME=]PATH` of runs, folders of tars, or tars. A single run is compared with its own pool.
    pool: a run; all its fetched samples, and random subsets of them as large as the first of `runs`, another one for each seed, are
        compared too.
    samples_seen: by each training; none: the size of the largest set.

    Samples whose caption or picture is held out are left out of every set.
    """
    if missing := [n for n in NEEDS if find_spec(n) is None]:
        raise RecipeError(f"open_clip's trainer needs {' and '.join(missing)}: pip install 'curate-multimodal[evaluate]'")
    if seeds < 1:
        raise RecipeError(f"{seeds} seeds: at least one training a set")
    how = how or Training()
    configuration(how.model)
    measured = [open_held_out(n, p) for n, p in named(held_out, "held-out sets").items()]
    store = Store(out)
    if not store.local:
        raise RecipeError(f"{out}: open_clip's trainer writes to this machine's disks")
    paths = named(runs)
    if len(paths) == 1 and not pool:
        (pool,) = paths.values()
        if not Store(pool).exists("recipe.json"):
            raise RecipeError(f"{pool}: nothing to compare it with: give another set, or a run's folder with --pool")
    for name in POOLED if pool else ():
        if name in paths:
            raise RecipeError(f"two sets are called {name}: say NAME={paths[name]}")
    with held(store):
        sets = _sets(paths, measured, store, pool, seeds)
        how = _compute(how, sets, samples_seen)
        with Trainer() as trainer:
            return _Evaluation(store, sets, measured, how, seeds, trainer, progress or Quiet()).run()


def _sets(paths: dict[str, str], measured: list[HeldOut], store: Store, pool: str | None, seeds: int) -> list[Set]:
    """The sets of `paths`, and the two made from a pool: a random subset for each seed, and the whole."""

    def drawn(name: str, path: str) -> Draw:
        return open_draw(path, measured, store.path(f"sets/without-held-out/{name}"))

    sets = [Set(name, (drawn(name, path),)) for name, path in paths.items()]
    if pool:
        whole = drawn(POOLED[1], write_fetched(pool, store.path("sets/pool")))
        size, places = sets[0].draw(0).samples, [store.path(f"sets/random-subset-{seed}") for seed in range(seeds)]
        subsets = [write_fetched(pool, place, size, seed, whole.leaked) for seed, place in enumerate(places)]
        sets += [Set(POOLED[0], tuple(map(open_draw, subsets))), Set(POOLED[1], (whole,))]
    return sets


def _compute(how: Training, sets: list[Set], samples_seen: int | None) -> Training:
    """The training with the same compute for every set: as many loader processes as the smallest set has shards, and full batches."""
    workers = min(how.workers, *(len(d.tars) for s in sets for d in s.draws))
    small, fewest = min(((s.name, d.samples) for s in sets for d in s.draws), key=lambda s: s[1])
    if fewest < how.batch * workers:
        raise RecipeError(
            f"set {small}: has {fewest:,} samples, fewer than a batch of {how.batch} for each of {workers} loaders; "
            "say a smaller --batch-size"
        )
    step = how.batch * workers
    seen = samples_seen or max(s.draw(0).samples for s in sets)
    batches = math.ceil(seen / step) * workers
    return replace(how, workers=workers, batches=batches, warmup=min(how.warmup, batches // 5))


class Trainer:
    """open_clip's trainer in a child process, started on first use."""

    child: subprocess.Popen | None = None

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.child:
            self.child.stdin.close()  # this ends it, also in the middle of a training
            self.child.wait()

    def lines(self, job: Path) -> Iterator[str]:
        """Run a job; yields the trainer's output lines."""
        if not self.child or self.child.poll() is not None:
            command = [sys.executable, "-m", "curate.extras.evaluate.trainer"]
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        assert self.child.stdin and self.child.stdout
        print(job, file=self.child.stdin, flush=True)
        for line in self.child.stdout:
            if line.startswith(DONE):
                return
            yield line.rstrip()


@dataclass
class _Evaluation:
    """All trainings of a comparison, one after another."""

    store: Store
    sets: list[Set]
    measured: list[HeldOut]
    how: Training
    seeds: int
    trainer: Trainer
    progress: Any

    def run(self) -> Outcome:
        self.progress.begin("evaluate", self.store.url)
        for left in Path(self.store.path("trainings")).glob(".training-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        found = []
        for seed in range(self.seeds):  # all sets of a seed first, so that an interrupted evaluation can be compared
            for each in self.sets:
                folder = self._trained(each, seed)
                found += [
                    {"set": each.name, "seed": seed, "held_out": h.name, **self._measures(folder, h)} for h in self.measured
                ]
        how = {**asdict(self.how), "samples_seen": self.how.batch * self.how.batches, "seeds": self.seeds}
        sets = [
            {
                "name": s.name,
                "samples": d.samples,
                "shards": len(d.tars),
                "hash": digest([d.hash for d in s.draws]) if len(s.draws) > 1 else d.hash,
                "captions_held_out": d.captions,
                "pictures_held_out": d.pictures,
            }
            for s in self.sets
            for d in s.draws[:1]
        ]
        outcome = Outcome(
            sets,
            [{"name": h.name, "samples": len(h.samples), "tasks": h.tasks, "classes": len(h.classes)} for h in self.measured],
            how,
            found,
            versions(),
        )
        self.store.publish_bytes("evaluation.json", (json.dumps(asdict(outcome), indent=1, ensure_ascii=False) + "\n").encode())
        self.store.publish_bytes("evaluation.html", outcome.as_html().encode())
        self.progress.finish("")
        return outcome

    def _trained(self, each: Set, seed: int) -> Path:
        """The folder of a training, which is run unless it is finished."""
        key = digest([each.draw(seed).hash, {**asdict(self.how), "model": configuration(self.how.model)}, seed])
        home = Path(self.store.path(f"trainings/{each.name.replace(' ', '-')}-{seed}-{key}"))
        bar = f"{each.name}, seed {seed}"
        self.progress.stage(bar, 100, 0)
        if not home.exists():
            home.parent.mkdir(exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".training-", dir=home.parent))
            try:
                self._train(each, seed, work, bar)
                os.chmod(work, 0o755)
                work.rename(home)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        self._at(bar, 100)
        return home

    def _train(self, each: Set, seed: int, work: Path, bar: str) -> None:
        """Run a training in a folder. PoolError with its last output line if it fails."""
        (work / "job.json").write_text(job(self.how, each.draw(seed).tars, seed))
        output: list[str] = []
        for line in self.trainer.lines(work / "job.json"):
            output = [*output[-500:], line]
            if done := re.search(r"Train Epoch: .*\((\d+)%\)", line):
                self._at(bar, min(99, int(done[1])))
        if not (work / "open_clip_config.json").exists():
            log = f"trainings/failed-{each.name.replace(' ', '-')}-{seed}.log"
            self.store.publish_bytes(log, "\n".join([*output, ""]).encode())
            raise PoolError(
                f"training on {each.name}, seed {seed}: {next((s for s in reversed(output) if s.strip()), 'killed')} ({self.store.path(log)})"
            )

    def _at(self, bar: str, percent: int) -> None:
        while self.progress.stages[bar].done < percent:
            self.progress.step(bar, None)

    def _measures(self, folder: Path, held_out: HeldOut) -> dict[str, Any]:
        """The metrics of a trained model on a held-out set; measured once and stored."""
        name = f"measured-{held_out.hash}.json"
        kept = Store(folder)
        if not kept.exists(name):
            from curate.models import clip

            kept.publish_bytes(name, json.dumps(held_out.measure(clip(str(folder)))).encode())
        return json.loads(kept.read(name))
