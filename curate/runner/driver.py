"""The driver: runs a recipe into a folder, or resumes the run there."""

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from curate.errors import CurateError, RecipeError
from curate.paths import printable
from curate.recipe import Recipe, segment_kind, segments
from curate.removed import Removed, pending, removed
from curate.runner import engine as engines
from curate.runner.budget import RunBudget
from curate.runner.cards import with_cards
from curate.runner.dataset import DatasetWriter
from curate.runner.finished import is_finished, nothing_to_do, record, state_of
from curate.runner.inputs import Ingest, slim
from curate.runner.metrics import RunMetrics
from curate.runner.preflight import preflight, same_recipe, settle
from curate.runner.workers import Lane, flow
from curate.score.budget import UNLIMITED, Spending
from curate.score.ingest import changed_since, number_parts, require_same_source, require_unchanged_inputs
from curate.score.part import Decision, Part
from curate.score.result import TaskResult
from curate.score.segment import Segment
from curate.select import pool
from curate.select.gather import Gather
from curate.select.published import EarlierRows
from curate.selector import Selector
from curate.stage import Stage
from curate.store import checksums as seal
from curate.store import releases
from curate.store.assets import publish
from curate.store.atomic import Store
from curate.store.folder import INPUT_RECORDS, load_or_build
from curate.store.inputs import listed
from curate.store.lease import held
from curate.store.memory import give_back, one_heap
from curate.store.releases import Release
from curate.upkeep.adopt import adopt, adopt_removed
from curate.upkeep.repair import repair
from curate.upkeep.takedown import finish, reset_to_unfinished
from curate.view import card, report
from curate.view.closing import nothing_kept
from curate.view.progress import Published, Quiet
from curate.view.run import Run

log = logging.getLogger(__name__)

#: The message for a finished run.
NOTHING = "nothing to do: this run is finished"


def run(
    recipe: Recipe,
    out: str,
    engine: str = "ray",
    address: str | None = None,
    workers: int | None = None,
    part_size: int = 10_000,
    refetch: bool = False,
    progress: Any = None,
    repair: bool = False,
    deadline: float = 3600,
    stage_workers: dict[str, int] | None = None,
    per_node: dict[str, int] | None = None,
    reuse: str | None = None,
    replace: bool = False,
    max_cost: float = math.inf,
    max_tokens: float = math.inf,
    onto: Sequence[str] = (),
) -> Run:
    """Run a recipe into a folder, or resume the run there. Returns the run; its `problems` list the inputs that could not be read.

    engine: `ray` (started here, or the cluster at `address`) or `local` (this process); the output has the same bytes.
    refetch: repeat failed fetches.
    repair: verify every file of the folder first, and recompute damaged ones.
    deadline: seconds for one attempt at a part, after which the worker is ended (`ray`). It commits its results before that, and the
        next attempt resumes from there.
    stage_workers, per_node: the number of workers by stage, in all and at most on one machine (`ray`).
    reuse: a run whose parts are copied into this one.
    replace: replace the run of another recipe in the folder, which is refused otherwise.
    max_cost, max_tokens: caps on the cost of generating models and on their tokens (input and output), over all invocations. Rows
        beyond a cap have no answer (`finish` over_budget); rerunning with a larger cap computes them.
    onto: finished runs of which this one is the next release: new rows are selected against theirs, which stay. A resumed run
        keeps its own.
    """
    recipe.check()
    _require_stages(recipe, {*(stage_workers or {}), *(per_node or {})})
    store = Store(out)
    earlier = record(store, repair)
    begun = earlier or (record(Store(reuse), True) if reuse else None)
    settle(recipe, begun)
    if earlier and not replace:
        same_recipe(store, earlier, recipe)
    cap = Spending(max_cost, max_tokens)
    further = refetch or repair or reuse or onto or RunBudget(store, recipe, cap).reaches_further(earlier)
    if not further and nothing_to_do(store, recipe, earlier, part_size):
        return _as_it_is(recipe, store, progress or Quiet())
    published = releases.opened(store, [Store(o) for o in onto] or _recorded(store, None if replace else earlier))
    EarlierRows(store, tuple(published)).check(recipe)
    preflight(recipe, None if refetch else earlier, Store(reuse) if reuse and not refetch else None)
    store.probe()
    with held(store):
        _prepare(store, published, reuse)
        worker = engines.start(engine, address, workers)
        worker.deadline = deadline
        settle(recipe, begun, lambda: worker.gpus)
        tracker = Published(progress or Quiet(), store, notes=worker.notes)
        try:
            worker.ship_user_code([recipe.source, *recipe.steps])
            limits = (deadline, stage_workers or {}, per_node or {}, cap)
            made = Driver(recipe, store, worker, part_size, refetch, tracker, earlier, repair, *limits, published).run()
        except BaseException as e:
            tracker.stopped(e)
            raise
        finally:
            worker.shutdown()
    if progress is None and (lost := nothing_kept(made)):
        log.warning(lost)
    return made


def _prepare(store: Store, published: Sequence[Release], reuse: str | None) -> None:
    """Remove half-written files, take over the takedowns of earlier releases, and the parts of the reused run."""
    store.sweep()
    for release in published:
        adopt_removed(store, release.at(store))
    if reuse:
        log.info("%d files of %s are used here too", adopt(store, Store(reuse)), reuse)


def _require_stages(recipe: Recipe, names: set[str]) -> None:
    """RecipeError if the recipe has no stage of one of these names."""
    if unknown := names - {s.name for s in recipe.steps if isinstance(s, Stage)}:
        raise RecipeError(f"no stage is called {', '.join(sorted(unknown))}; `curate plan` lists the steps of a recipe")


def _as_it_is(recipe: Recipe, store: Store, progress: Any) -> Run:
    """The finished run in the folder."""
    made = Run(store)
    progress.begin(recipe.name or "run", store.url)
    progress.end(made, NOTHING)
    return made


def _recorded(store: Store, earlier: dict[str, Any] | None) -> list[Store]:
    """The releases that the run in the folder was begun onto."""
    return [releases.located(store, place) for place in (earlier or {}).get("onto", ())]


def write_pages(made: Run) -> None:
    """Write the report and the data set's card. An error is logged and does not end the run; a full disk does."""
    try:
        pages = {"report.html": report.html_of(made), **card.files(made)}
    except Exception as e:
        log.warning(
            "no report: %s: %s; `curate report` tries again", type(e).__name__, e, exc_info=log.isEnabledFor(logging.DEBUG)
        )
        return
    for name, text in pages.items():
        made.store.publish_bytes(name, text.encode())


#: Seconds for one attempt at reading an input file, which is not divided into parts before it is read.
READING = 86_400


@dataclass
class Driver:
    """The driver of one run: ingestion, blocks of stages and selectors, then the ledger and the shards."""

    recipe: Recipe
    store: Store
    engine: Any
    part_size: int
    refetch: bool
    progress: Any
    earlier: dict[str, Any] | None
    repair: bool = False
    deadline: float = 3600
    stage_workers: dict[str, int] = field(default_factory=dict)
    per_node: dict[str, int] = field(default_factory=dict)
    cap: Spending = UNLIMITED
    releases: list[Release] = field(default_factory=list)

    metrics: RunMetrics = field(default_factory=RunMetrics, init=False)
    gone: Removed = field(default_factory=Removed, init=False)  # what was taken down
    #: What was gathered of parts that have been through the stages of a block, by part.
    made: dict[str, dict[str, pool.Gathered]] = field(default_factory=dict, init=False)
    #: The names of the files of parts that wait between two lanes, which the next task need not list.
    listed: dict[str, list[str]] = field(default_factory=dict, init=False)

    def run(self) -> Run:
        began = time.time()
        one_heap()
        self.progress.begin(self.recipe.name or "run", self.store.url)
        repaired, inputs = self._whole()
        problems = [i["error"] for i in inputs if "error" in i]
        parts = number_parts([p for i in inputs for p in i["parts"]], {c for s in self.recipe.steps for c in s.reads})
        if not any(sum(p.rows.values()) for p in parts):
            raise RecipeError("; ".join(problems) or "the input has no rows")
        self.budget = RunBudget(self.store, self.recipe, self.cap)
        self.record = {**self.recipe.record(), "part_size": self.part_size, "inputs": slim(inputs)}
        if self.releases:
            self.record["onto"] = [r.run for r in self.releases]
        state = state_of(self.recipe, [p.id for p in parts], problems, self.releases)
        made = Run(self.store, self.metrics.counters, problems, repaired)
        more = self.refetch or self.budget.reaches_further(self.earlier)
        if not more and is_finished(self.store, state, self.releases):
            self.progress.end(made, NOTHING)
            return made
        self.store.remove(seal.NAME)
        if self.earlier and self.earlier.get("name") != self.recipe.name:
            self.store.clear("ledger")  # until the new one is written, nothing shows rows of another recipe as this one's
        self._publish_record({"state": "running", "began": began})
        point, last = self._score_and_select(parts)
        self.metrics.warn_of_drift()
        writer = DatasetWriter(self.recipe, self.store, self.engine, self.progress, self.releases)
        counts = writer.write(point, parts, state, last)
        made.problems += (changed := changed_since(inputs))
        finished = {
            "state": "finished",
            "began": began,
            "seconds": time.time() - began,
            "rows": counts,
            "decisions": [[d.step, d.folder, d.starts] for d in point.decisions],
            **self.metrics.record(),
            "spent": self.budget.record(),
            "changed": changed,
        }
        self._publish_record(finished)
        write_pages(made)
        seal.write(self.store, writer.sums)
        self.progress.end(made, "")
        return made

    def _publish_record(self, more: dict[str, Any]) -> None:
        if isinstance(self.record["inputs"], list):
            self.record["inputs"] = listed(self.store, self.record["inputs"])
        self.store.publish_bytes("recipe.json", (json.dumps(self.record | more, indent=1, default=str) + "\n").encode())

    # ---- rows come in

    def _whole(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Complete a pending takedown, repair if asked to, and ingest the input; returns the repaired files and the input
        records."""
        if not self.repair:
            finish(self.store, lambda: write_pages(Run(self.store)))  # before anything is read
            return [], self._inputs()
        # A takedown cannot go through damaged files, and would not look at rows that are missing: it ends when they are here again.
        if pending(self.store):
            reset_to_unfinished(self.store)
        repaired, inputs = repair(self.store, self.recipe, self.engine.map), self._inputs()
        finish(self.store, lambda: None)
        return repaired, inputs

    def _inputs(self) -> list[dict[str, Any]]:
        files = self.recipe.source.files()
        if self.earlier:
            require_same_source(
                self.store, self.earlier, self.recipe.record()["source"], self.part_size, list(map(printable, files))
            )
        known = {i["path"]: i for i in self.earlier["inputs"]} if self.earlier else {}
        there, self.gone = frozenset(self.store.names(INPUT_RECORDS)), removed(self.store)
        ingesting = Ingest(self.store, self.recipe.source, self.part_size, known, self.gone, there)
        lane = Lane("read", ingesting, limit=self.engine.slots("cpu"), deadline=max(READING, self.deadline))
        self.progress.stage("read", len(files), 0)
        found: dict[str, dict[str, Any]] = {}

        def on_result(at: int, item: Any, result: Any) -> None:
            if at >= 0 and not isinstance(result, CurateError):
                found[item] = result
            self.progress.step("read" if at >= 0 else "", None)

        failures = flow(self.engine, [lane], files, on_result)
        _raise(failures)
        if self.earlier:
            require_unchanged_inputs(self.earlier, {printable(file): record for file, record in found.items()})
        return [found[f] for f in files]

    # ---- acts 1 and 2

    def _score_and_select(self, parts: list[Part]) -> tuple[pool.Point, dict[str, list[pool.Gathered]]]:
        """Run all blocks of stages and selectors; returns the point at the recipe's end and the columns that the last
        selectors read."""
        before: list[Any] = []
        decisions: list[Decision] = []
        gathered: dict[str, list[pool.Gathered]] = {}
        for stages, selectors in self.recipe.blocks():
            gather = self._gather(selectors, [*before, *stages], decisions)
            self._flow(stages, before, decisions, parts, gather)
            before = before + stages
            gathered = self._gathered(gather, parts)
            made = self._select(selectors, gathered, gather)
            decisions, before = decisions + made, before + selectors
        return pool.Point(self.store, before, self.recipe.fingerprints, decisions), gathered

    def _gather(self, selectors: list[Selector], before: list[Any], decisions: list[Decision]) -> Gather | None:
        """The task that gathers the columns a block's selectors read; None without selectors."""
        if not selectors:
            return None
        columns = {}
        for table in dict.fromkeys(s.table for s in selectors):
            added = {c for s in selectors if s.table == table for c in s.adds() if c not in s.overwrites}
            columns[table] = tuple(sorted({c for s in selectors if s.table == table for c in s.reads} - added - {"id"}))
        return Gather(pool.Point(self.store, before, self.recipe.fingerprints, decisions), columns, pool.known(self.store))

    def _gathered(self, gather: Gather | None, parts: list[Part]) -> dict[str, list[pool.Gathered]]:
        """The gathered columns of all parts by table: written during the last stages, or now."""
        if gather is None:
            return {}
        each = [self.made.pop(p.id) for p in parts] if self.made else list(self.engine.map(gather, parts))
        return {table: [found[table] for found in each] for table in gather.columns}

    def _flow(
        self, stages: list[Stage], before: list[Any], decisions: list[Decision], parts: list[Part], then: Gather | None
    ) -> None:
        lanes = []
        for segment in segments(stages):
            # Workers of other machines have none of the files that stages name.
            assets = {} if self.engine.local else publish(self.store, segment)
            work = Segment(
                self.store, segment, list(before), self.recipe.fingerprints, decisions, self.refetch, self.deadline, assets
            )
            work.notes, work.removed = self.engine.note, self.gone
            gpus = max(s.gpus for s in segment)
            # What streams keeps its connections and its engine from part to part, and has no deadline for a part.
            # Two parts at a time: the requests of one follow the last of the other.
            where, deadline = ("model", math.inf) if work.streams else (segment_kind(segment), self.deadline)
            together = (
                2 if where == "model" else 1
            )  # while a model is at work for one part, another is read, decoded, committed
            name = "+".join(s.name for s in segment)
            wanted, on_each = (max(n.get(s.name, 0) for s in segment) for n in (self.stage_workers, self.per_node))
            lanes.append(Lane(name, work, where, gpus, self.engine.slots(where, gpus), deadline, wanted, on_each, together))
            tables = {s.table for s in segment}
            self.progress.stage(name, len(parts), sum(p.rows.get(t, 0) for p in parts for t in tables))
            before = [*before, *segment]
        runs = self.engine.together(lanes) if lanes else []
        for run in runs:
            for n, lane in enumerate(run):
                lane.target.ahead = [after.target.stages for after in run[n + 1 :]]
                lane.target.then = then if run is runs[-1] else None
            self._flow_through(run, parts)

    def _flow_through(self, lanes: list[Lane], parts: list[Part]) -> None:
        self.budget.divide(self.engine, lanes, parts)
        for lane in lanes:
            lane.besides = partial(self._besides, lane.besides)

        def on_result(at: int, part: Any, done: Any) -> None:
            if at >= 0 and not isinstance(done, CurateError):
                self.engine.count(done)
                self.metrics.add(done)
                self.budget.seen(lanes[at], part, done)
                if done.made is not None:
                    self.made[part.id] = done.made
                elif at + 1 + done.passed < len(lanes):
                    self.listed[part.id] = done.names
            self.progress.step(lanes[at].name if at >= 0 else "", None if isinstance(done, CurateError) else done)
            for lane in lanes[at + 1 : at + 1 + (done.passed if isinstance(done, TaskResult) else 0)]:
                self.progress.step(lane.name, TaskResult(part.id, dropped=done.dropped))

        def on_retry(at: int, part: Any, error: CurateError) -> None:
            self.metrics.retries.append({"part": part.id, "stages": lanes[at].name, "error": str(error)})
            self.budget.lost(lanes[at], part)

        _raise(flow(self.engine, lanes, parts, on_result, on_retry))

    def _besides(self, share: Callable[[Part], tuple | None], part: Part) -> tuple | None:
        """What a task gets besides its part: its share of the budget, and the names of the part's files after an earlier task."""
        found = share(part)
        return None if found is None else (*(found or (UNLIMITED,)), self.listed.pop(part.id, None))

    def _select(
        self, selectors: list[Selector], gathered: dict[str, list[pool.Gathered]], gather: Gather | None
    ) -> list[Decision]:
        """Run the selectors of a block one after another, each on the rows that the one before kept."""
        earlier = EarlierRows(self.store, tuple(self.releases))
        there = {t: earlier.rows(t, selectors, gather.known, self.engine.map) for t in gathered} if gather else {}
        readers = Counter(s.table for s in selectors)
        decisions: list[Decision] = []

        def decide(selector: Selector, rows: list[pool.Gathered], wanted: Decision) -> dict[str, Any]:
            began = time.perf_counter()
            if readers.pop(selector.table, 0) > 1:
                rows = gathered[selector.table] = pool.in_chunks(self.store, rows, self.engine.map)
            published = there[selector.table] if selector.sees_published else []
            record = pool.decide(self.store, selector, rows, decisions, wanted, self.engine.map, published)
            self.metrics.decided[selector.name] = {"rows": sum(g.rows for g in rows), "seconds": time.perf_counter() - began}
            return record

        for selector in selectors:
            rows, beside = gathered[selector.table], there[selector.table] if selector.sees_published else []
            self.progress.stage(selector.name, 1, sum(g.rows for g in rows))
            wanted = pool.decision(selector, rows, decisions, self.recipe.fingerprints[selector.name], beside)
            record = load_or_build(self.store, wanted.record, partial(decide, selector, rows, wanted))
            decisions.append(wanted)
            self.metrics.notes[selector.name] = with_cards(selector.name, record["notes"], lambda: self.engine.gpus)
            self.progress.step(selector.name, TaskResult(selector.name, dropped=record["reasons"]))
            give_back()
        return decisions


def _raise(failures: list[tuple[int, Any, CurateError]]) -> None:
    """Raise the first failure, with the number of failures."""
    if failures:
        error = failures[0][2]
        error.args = (f"{error}" + (f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""),)
        raise error
