"""Recipes: a source, scoring stages, selectors, synthesis stages and the shards. A recipe is checked before any worker starts."""

import difflib
import importlib.metadata
import itertools
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from curate import __version__
from curate.dedup.uid import DuplicateUid
from curate.errors import RecipeError
from curate.fetch.decode import Decode
from curate.fetch.image import PIXELS
from curate.schema import KEPT
from curate.selector import Selector
from curate.source import Source
from curate.stage import Stage, Step, column, digest, plain

#: Columns that every table has when selectors read it.
_ALWAYS = ("id", "uid")

#: Columns that commits and the ledger add to those of the steps.
RESERVED = {"id", "row", "input_digest", "drop_reason", "drop_stage", "kept", "shard", "place", "key"}


#: The step that adds a column, for columns that recipes often lack.
_ADDED_BY = {"payload": "Fetch()", "clip_image": "ClipEmbed()", "clip_text": "ClipEmbed()", "clip_score": "ClipScore()"}


@dataclass
class Shards:
    """The layout of the shards.

    size: largest number of samples in a shard (img2dataset and DataComp use 10,000); sizes differ by at most one sample.
    seed: of the shuffle.
    embeddings: put lists of floats into the Parquet sidecars. They are always in the ledger.
    without: further columns to leave out of the `.json` members and the Parquet sidecars.
    captions, redacts, model_scores: set by the recipe from its steps (Step.captions; Step.redacts and the columns of numbers that
        models computed, by table). Model scores are in the sidecars and not in the `.json` members: their last digits depend on the
        CPU, and the root hash, which covers the tars, must not.
    """

    size: int = 10_000
    seed: int = 0
    without: tuple[str, ...] = ()
    embeddings: bool = False
    captions: str = field(default="", kw_only=True)
    redacts: dict[str, dict[str, str]] = field(default_factory=dict, kw_only=True)
    model_scores: dict[str, list[str]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self):
        if self.size < 1:
            raise RecipeError(f"shards of {self.size} samples: the size must be 1 or more")


def _is_floating(kind: pa.DataType) -> bool:
    """True for floating-point numbers and lists of them."""
    return _is_floating(kind.value_type) if hasattr(kind, "value_type") else pa.types.is_floating(kind)


@dataclass
class Recipe:
    """A pipeline: source → score → select → synth → shards.

    `score` and `synth` are lists of stages, `select` of selectors; a selector among the stages is a barrier: the whole pool must
    reach it before any part continues.
    """

    source: Source
    score: list[Step] = field(default_factory=list)
    select: list[Step] = field(default_factory=list)
    synth: list[Step] = field(default_factory=list)
    shards: Shards | None = field(default_factory=Shards)  # None: a ledger and no shards, for lists that are not fetched
    name: str = ""
    samples: str = (
        ""  # what a sample is: a row of `images` with its text, or of `documents`; "": documents if the source has them
    )

    #: Changes to the recipe as written: `image_side.min=100`, `without near_dedup` (see curate.settings).
    changes: tuple[str, ...] = ()

    def __post_init__(self):
        self.samples = self.samples or ("documents" if "documents" in self.source.tables else "images")

    @cached_property
    def steps(self) -> list[Step]:
        """All steps in order, including two implicit ones: `duplicate_uid` first, and `decode` before the first stage that reads pixels,
        or after the scores if there is none and fetched pictures go into shards."""
        table = "documents" if "documents" in self.source.tables else "images"
        newest = "captured_at" if table == "documents" and "captured_at" in self.source.adds(table) else ""
        steps = [DuplicateUid(newest, table=table), *self.source.steps(), *self.score, *self.select, *self.synth]
        first = next((i for i, s in enumerate(steps) if isinstance(s, Stage) and s.pixels), None)
        if first is None and self.shards and any(isinstance(s, Stage) and "original_width" in s.adds() for s in self.score):
            first = len(steps) - len(self.select) - len(self.synth)
        if first is not None and not any(isinstance(s, Decode) for s in steps[: first + 1]):
            steps.insert(first, Decode())
        return steps

    def check(self) -> "Recipe":
        """The recipe itself, if it is valid. RecipeError if a step reads a column that nothing before it provides, adds one that exists,
        or lets redacted text into the shards."""
        have = {t: set(self.source.adds(t)) | set(_ALWAYS) for t in self.source.tables}
        names: set[str] = set()
        hidden: dict[tuple[str, str], str] = {}
        if self.samples not in have or self.samples == "texts":
            raise RecipeError(
                f"recipe {self.name}: samples are images or documents, not {self.samples}, of a source with {', '.join(have)}"
            )
        for step in self.steps:
            if not isinstance(step, (Stage, Selector)):
                raise RecipeError(f"recipe {self.name}: {step!r} is neither a stage nor a selector")
            if step.table not in have:
                raise RecipeError(f"{step.name} works on table {step.table}, which {type(self.source).__name__} does not have")
            if not re.fullmatch(r'[^\x00-\x1f"/\\]+', step.name):
                raise RecipeError(
                    f"{step.name!r} names files and columns: it must not contain quotation marks, slashes or control characters"
                )
            if step.name in names:
                raise RecipeError(f"two steps are called {step.name}: give one of them another name=")
            names.add(step.name)
            self._check_columns(step, have[step.table])
            self._check_redaction(step, have[step.table], hidden)
            have[step.table] |= set(step.adds())
        self._check_exposed_text(hidden)
        if self.shards and "payload" not in have["images"]:
            raise RecipeError(
                f"recipe {self.name}: no step provides the images for the shards; add Fetch(), or say shards=None"
            )
        return self

    def _check_columns(self, step: Step, have: set[str]) -> None:
        """RecipeError if a step reads a column that is not in `have`, or adds one that is."""
        for read in step.reads:
            wanted = column(read)
            if wanted in have:
                continue
            hint = difflib.get_close_matches(wanted, have, 1)
            later = next((s.name for s in self.steps if wanted in s.adds()), None)
            hint = [listed] if (listed := f"source_{read}") in have else hint  # columns of the input have this prefix
            tail = f"; {later} adds it, but comes later" if later else f"; did you mean {hint[0]}?" if hint else ""
            if provider := _ADDED_BY.get(wanted if step.table == "images" else "") if not later else None:
                tail = f"; put {provider} before it" + tail.replace(";", ", or", 1)
            default = next((f.name for f in fields(step) if f.default == wanted), None)
            whose = f", the default of {default}=" if default else ""
            raise RecipeError(f"{step.name} reads {read}{whose}, which nothing before it provides{tail}")
        twice = set(step.adds()) & have - (set(KEPT) if step.writes_payload else set()) - (
            set(step.overwrites) if isinstance(step, Selector) else set()
        )
        if taken := sorted(set(step.adds()) & RESERVED):
            raise RecipeError(f"{step.name} adds {taken[0]}, a reserved column of the ledger: give it another name=")
        if twice:
            whose = (
                "which the source provides already, as the shards of a run do"
                if twice <= set(self.source.adds(step.table))
                else "which exists already"
            )
            raise RecipeError(f"{step.name} adds {', '.join(sorted(twice))}, {whose}: give it another name=")

    def _check_redaction(self, step: Step, have: set[str], hidden: dict[tuple[str, str], str]) -> None:
        """RecipeError if text could reach the shards without its redaction. hidden: for each redacted column (table, name) the step that
        redacts it; the columns of this step are added."""
        mine = set(step.redacts)
        hidden |= {(step.table, c): step.name for c in mine}
        makes = [
            c for c, kind in step.adds().items() if str(kind) in ("string", "large_string") and c not in step.redacts.values()
        ]
        late = next((c for c in step.reads if (step.table, c) in hidden), None) if makes and not mine else None
        if late:
            first = hidden[step.table, late]
            raise RecipeError(f"{step.name} makes {makes[0]} of {late} after {first} redacted it; put {first} after it")
        before = itertools.takewhile(lambda s: s is not step, self.steps)
        chosen = next((s.captions for s in before if s.captions and s.table == step.table), "")
        if "text" in mine and chosen and chosen not in mine:
            raise RecipeError(
                f"{step.name} leaves {chosen} as it is, which shards take for the caption; say columns=('text', {chosen!r})"
            )

    def _check_exposed_text(self, hidden: dict[tuple[str, str], str]) -> None:
        """RecipeError if a stage copies text of another table that is redacted there into the shards."""
        for step in self.steps:
            leaked = next((t for t in step.exposes if t in hidden), None)
            strings = {name for name, kind in step.adds().items() if str(kind) in ("string", "large_string")}
            open_ = strings - {c for t, c in hidden if t == step.table} - set(self.shards.without if self.shards else ())
            if leaked and open_ and self.shards:
                name = min(open_)
                raise RecipeError(
                    f"{step.name} passes on {leaked[1]} of {leaked[0]}, which {hidden[leaked]} redacts there: redact {name} too, "
                    f"or say shards=Shards(without=({name!r},))"
                )

    @cached_property
    def layout(self) -> Shards | None:
        """`shards`, completed by the steps' captions, redacted columns and model scores."""
        redacts: dict[str, dict[str, str]] = {}
        for step in self.steps:
            if step.redacts:
                redacts.setdefault(step.table, {}).update(step.redacts)
        captions = next((s.captions for s in reversed(self.steps) if s.captions and s.table == "images"), "")
        return self.shards and replace(self.shards, captions=captions, redacts=redacts, model_scores=self._model_scores())

    def _model_scores(self) -> dict[str, list[str]]:
        """By table the columns of numbers that a model computed (scores, embeddings), or that were computed from such columns."""
        found: dict[str, list[str]] = {}
        for step in self.steps:
            mine = found.setdefault(step.table, [])
            if (isinstance(step, Stage) and step.loads) or any(column(read) in mine for read in step.reads):
                mine += [n for n, kind in step.adds().items() if _is_floating(kind)]
        return found

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """For each step 12 hex digits of what its stored values depend on: itself, and the steps that made what it reads."""
        makers: dict[tuple[str, str], str] = {}
        digested: set[tuple[str, str]] = set()  # columns of which part.PartState keeps digests
        prints: dict[str, str] = {}
        upstream: list[Any] = []
        identities = _identities(self.steps)
        for step in self.steps:
            stage = isinstance(step, Stage)
            reads = {c: makers.get((step.table, column(c)), "source") for c in step.reads}
            extra = {"upstream": list(upstream) if stage and step.context else None}
            if stage and step.pixels:
                extra["pixels"] = PIXELS
            dependent = digested & (
                {(step.table, column(c)) for c in step.reads} - {(step.table, step.skip_where if stage else "")}
            )
            if stage and dependent:
                extra["input_digest"] = True  # its commits have this column
            prints[step.name] = digest({"step": identities[step.name], "reads": reads, **extra})
            upstream.append([prints[step.name], step.parameters()])
            for name in step.adds():
                makers[step.table, name] = prints[step.name]
                (digested.add if not stage or step.context or dependent else digested.discard)((step.table, name))
        return prints

    def blocks(self) -> Iterator[tuple[list[Stage], list[Selector]]]:
        """The steps divided at the barriers: some stages, then the selectors that follow them.

        Selectors of a block see the rows that those before them kept of their own table; a new block begins where dropped documents
        drop rows of other tables.
        """
        stages: list[Stage] = []
        selectors: list[Selector] = []
        for step in self.steps:
            if selectors and (
                isinstance(step, Stage) or selectors[-1].overwrites or (selectors[-1].table == "documents" != step.table)
            ):
                yield stages, selectors
                stages, selectors = [], []
            (stages if isinstance(step, Stage) else selectors).append(step)
        if stages or selectors:
            yield stages, selectors

    @cached_property
    def last(self) -> list[Selector]:
        """The selectors after which nothing follows: those of the last block."""
        return [*self.blocks()][-1][1] if self.steps else []

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits of everything that decides the dataset, except the input files."""
        return digest(
            {
                "source": self.source.identity(),
                "steps": [[self.fingerprints[s.name], s.parameters()] for s in self.steps],
                "shards": plain(self.layout),
                "samples": self.samples,
            }
        )

    def record(self) -> dict[str, Any]:
        """The content of recipe.json: parameters, fingerprints, versions."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "source": plain(self.source),
            "steps": [
                {
                    "step": s.name,
                    "kind": kind(s),
                    "table": s.table,
                    "fingerprint": self.fingerprints[s.name],
                    "adds": list(s.adds()),
                    **s.identity(),
                    **s.parameters(),
                }
                for s in self.steps
            ],
            "shards": plain(self.layout),
            "samples": self.samples,
            **({"changes": list(self.changes)} if self.changes else {}),
            "versions": versions(),
        }


def kind(step: Step) -> str:
    """The resource that a step uses: `network`, `model`, `cpu` or `selector`."""
    if not isinstance(step, Stage):
        return "selector"
    return "network" if step.network else "model" if step.loads else "cpu"


def segment_kind(segment: list[Stage]) -> str:
    """The resource that a segment uses: `model`, `network` or `cpu`."""
    kinds = {kind(s) for s in segment}
    return next(k for k in ("model", "network", "cpu") if k in kinds)


def segments(stages: list[Stage]) -> list[list[Stage]]:
    """Groups of consecutive stages that run in one task. A cheap stage (no model, no pixels) joins the segment before it; a stage that
    streams shares its segment with no other model."""
    cut: list[list[Stage]] = []
    for stage in stages:
        first = cut[-1][0] if cut else None
        joins = first is not None and (
            (kind(stage) == "cpu" and not stage.pixels and not stage.writes_payload)
            or (kind(stage) == kind(first) == "cpu")
            or (
                kind(stage) == kind(first) == "model"
                and stage.gpus == first.gpus == 0
                and not (stage.streams or cut[-1][-1].streams)
            )
        )
        if joins:
            cut[-1].append(stage)
        else:
            cut.append([stage])
    for i in reversed(range(len(cut) - 1)):  # pictures are decoded in the segment that first uses them
        if isinstance(cut[i][-1], Decode) and cut[i + 1][0].pixels:
            cut[i + 1].insert(0, cut[i].pop())
    return [segment for segment in cut if segment]


def versions() -> dict[str, str]:
    """Versions of Python, curate and the packages that can change the output."""
    names = (
        "numpy",
        "pyarrow",
        "duckdb",
        "ray",
        "pillow",
        "simplejpeg",
        "opencv-python-headless",
        "torch",
        "open_clip_torch",
        "timm",
        "transformers",
        "faiss-cpu",
        "faiss-gpu",
        "fasttext-numpy2",
    )
    found = {"python": platform.python_version(), "curate": __version__}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _identities(steps: list[Step]) -> dict[str, dict[str, Any]]:
    """The identity of each step by name; RecipeError names all files of weights that are missing, of all steps."""
    found, problems = {}, []
    for step in steps:
        try:
            found[step.name] = step.identity()
        except RecipeError as e:
            problems.append(str(e))
    if problems:
        raise RecipeError("; ".join(dict.fromkeys(problems)))
    return found
