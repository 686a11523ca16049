"""The result of one task: a segment computed on a part."""

from dataclasses import dataclass, field
from typing import Any

from curate.score.budget import Spending
from curate.score.model import ModelPace


@dataclass
class TaskResult:
    """The result of one task: rows computed and reused by stage, drops by reason (without those of selectors, which decide over
    the pool), seconds by stage (of the first that reads pixels with those of the decoders, of all cores together)."""

    part: str
    computed: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pace: dict[str, ModelPace] = field(default_factory=dict)  # of stages with a model
    bytes: int = 0
    #: Files that are not what an earlier fetch got: uid, before, after.
    drift: list[dict[str, str]] = field(default_factory=list)
    spent: Spending = field(default_factory=Spending)  # on models that write
    over_budget: int = 0  # rows that no model was asked about for lack of budget
    #: Time was up, or its share of the budget spent: what was computed is committed, another task continues from there.
    unfinished: bool = False
    #: Following segments whose values were all there: the part has been through these too.
    passed: int = 0
    #: The files in the part's folder, as far as the task knows them.
    names: list[str] = field(default_factory=list)
    #: The result of `Segment.then` for the part.
    made: Any = None
