"""Segments: consecutive stages that a worker computes and commits part by part, with its models and decoders."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from curate.errors import CurateError
from curate.fetch.decoders import Decoders
from curate.removed import Removed
from curate.score.budget import UNLIMITED, Spending
from curate.score.model import ModelPace, ModelThread
from curate.score.notes import Note
from curate.score.part import Decision, Part, PartState
from curate.score.result import TaskResult
from curate.score.target import Target
from curate.score.task import SegmentTask
from curate.stage import Stage, Step
from curate.store.assets import localize
from curate.store.atomic import Store


class Then(Protocol):
    """A computation on a part after its segments, while its columns are in memory. columns: those that it reads, by table."""

    columns: dict[str, tuple[str, ...]]

    def of(self, state: PartState) -> Any: ...


@dataclass
class Segment(Target):
    """Consecutive stages of a recipe, as sent to workers: the stages, what precedes them, and where files are. Small and picklable."""

    store: Store
    stages: list[Stage]
    before: list[Step]
    fingerprints: dict[str, str]
    decisions: list[Decision] = field(default_factory=list)
    refetch: bool = False
    deadline: float = 3600  # seconds for a task, after which the engine gives it up
    assets: dict[str, str] = field(default_factory=dict)  # the copies in the store of files that stages name
    ahead: list[list[Stage]] = field(default_factory=list)  # the stages of the segments that follow
    then: Then | None = None  # for a part that has been through all of these
    removed: Removed | None = None  # what was taken down; None: the store is asked
    cores: int = 1  # of the worker: pictures decoded at a time
    stopped: bool = False  # parts at work end with their present chunk
    model: ModelThread | None = None
    decoders: Decoders | None = None
    notes: Callable[[Note], None] | None = None  # receives progress

    @property
    def name(self) -> str:
        """The names of its stages, joined by +."""
        return "+".join(s.name for s in self.stages)

    def load(self) -> "Segment":
        """Start decoders and load the models of the stages, in the thread that will call them."""
        if self.decoders is None:
            for stage in self.stages:
                localize(self.store, self.assets, stage)
            if self.streams:  # streaming stages run their models in threads of their own
                self._load()
            elif any(s.loads for s in self.stages):
                self.model = ModelThread()
                self.model.call(self._load, ModelPace())
                self.model.since = None
            self.stopped = False
            self.decoders = Decoders(self.cores)  # whose processes start with the first picture
        return self

    def _load(self) -> None:
        for stage in [s for s in self.stages if s.loads]:
            if self.notes:
                self.notes({"lane": self.name, "loading": stage.loading()})
            stage.load()

    def close(self) -> None:
        """Stop threads and decoders, and close the stages."""
        self.stopped = True
        if self.decoders:
            self.decoders.stop()
            for stage in self.stages:
                stage.close()
        if self.model:
            self.model.stop()
        self.model = self.decoders = None

    @property
    def streams(self) -> bool:
        """Whether a stage streams its results; such a part has no deadline."""
        return any(s.streams for s in self.stages)

    def __call__(self, part: Part, share: Spending = UNLIMITED, names: list[str] | None = None) -> TaskResult:
        """Compute and commit the missing values of a part's live rows. Raises PartError. share: of the run's budget. names: of the
        part's files, where they are known."""
        self.load()  # network stages run as tasks, in processes that have not loaded them
        return SegmentTask(self, part, True, share, names).run()

    def run(self, stage: Stage, work: Callable[[], pa.Table], rows: int, task: "SegmentTask") -> pa.Table:
        """Call a stage, in the model thread if it keeps a model, and measure its time."""

        def called() -> pa.Table:
            stage.deadline_at = task.deadline_at
            return work()

        if self.stopped:
            raise Stopped(f"{task.part.id}: stopped")
        pace = ModelPace(batch=min(rows, stage.batch or stage.chunk), cores=self.cores)
        if stage.loads and self.model:
            found = self.model.call(called, pace)
            task.done.pace.setdefault(stage.name, ModelPace()).add(pace)
        else:
            began = time.perf_counter()
            found = called()
            pace.busy = time.perf_counter() - began
        task.done.seconds[stage.name] = task.done.seconds.get(stage.name, 0.0) + pace.busy
        return found

    def peek(self, part: Part, share: Spending = UNLIMITED, names: list[str] | None = None) -> TaskResult | None:
        """The result if nothing has to be computed for the part, else None. Loads no model."""
        return SegmentTask(self, part, False, share, names).peek()


class Stopped(CurateError):
    """The run was stopped during the task."""
