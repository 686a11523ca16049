"""`curate plan`: where each step would run, what is done already, what is left. Starts nothing."""

import json
import os
import shutil
import sys
from collections import Counter
from typing import Any

from curate.dedup.vectors import gpus as share_of_card
from curate.recipe import Recipe, kind, segment_kind, segments
from curate.runner.cards import unused_cards
from curate.runner.preflight import settle
from curate.runner.workers import Lane, cores, decoding, fitting, gpus_here, model_workers
from curate.score.ingest import input_key
from curate.score.target import Target
from curate.selector import Selector
from curate.source import file_identity
from curate.stage import Stage
from curate.store.atomic import Store
from curate.store.folder import PARTS
from curate.store.inputs import run_record
from curate.view import views
from curate.view.look import plain


def describe(recipe: Recipe, out: str | None, part_size: int) -> str:
    """The plan as text: a line per step, then the input, and the progress in the folder `out`."""
    done, parts = progress_of(recipe, out, part_size) if out else (Counter(), 0)
    head = ("step", "reads", "adds", "bounds", "on", *([f"done in {out}"] if out else []))
    lines = [_line(recipe, s, done, parts)[: len(head)] for s in recipe.steps]
    files = recipe.source.files()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    lanes = [
        " + ".join(s.name for s in segment) + f" ({segment_kind(segment)})"
        for stages, _ in recipe.blocks()
        for segment in segments(stages)
    ]
    return "\n".join(
        [
            f"recipe {recipe.name}, fingerprint {recipe.fingerprint}",
            *([f"changed: {' · '.join(recipe.changes)}"] if recipe.changes else []),
            f"input: {len(files):,} file{'s' * (len(files) != 1)}, parts of {part_size:,} rows"
            + (f"; {parts:,} parts are read already" if parts else ""),
            "",
            plain(head, lines, width),
            "",
            "a part goes through: " + "  →  ".join(lanes),
            *workers_here(recipe),
            *unused_cards(recipe),
            f"shards: {recipe.shards.size:,} samples each, shuffled with seed {recipe.shards.seed}"
            if recipe.shards
            else "no shards: a ledger only",
            *cautions(recipe),
            *requests(out),
        ]
    )


def cautions(recipe: Recipe) -> list[str]:
    """A line for each kind of small default model that the recipe uses: what it cannot do."""
    clips = [s.name for s in recipe.steps if s.model == "small" and not s.streams]
    writers = [s.name for s in recipe.steps if s.model == "small" and s.streams]
    found = []
    if clips:
        found.append(
            f"{clips[0]}: the bundled CLIP was trained on drawings and stamps (it tells a true caption from another with an AUC of 0.94 "
            "there; on photographs of the web it was not measured): for the web take --model ViT-L-14:openai"
        )
    if writers:
        found.append(
            f"{writers[0]}: the bundled captioner names drawings in a few words (CIDEr 0.31 there): for the web take "
            "--captioner caption:Salesforce/blip2-opt-2.7b"
        )
    return found


def workers_here(recipe: Recipe) -> list[str]:
    """For each block of stages with models the workers that Ray would start on this machine: number, GPU, cores."""
    total, gpus = len(os.sched_getaffinity(0)), gpus_here()
    lines = []
    for stages, _ in recipe.blocks():
        found = segments(stages)
        lanes = [_lane(segment, total, gpus) for segment in found]
        looks = {lane.name for lane, segment in zip(lanes, found) if any(s.pixels for s in segment)}
        for run in fitting(lanes, gpus):
            for lane, asked in zip(run, cores(run, total, total / gpus if gpus else 0)):
                if lane.kind == "model":
                    card = f"{lane.gpus:g} GPU, " if lane.gpus and gpus else ""
                    many = f"{decoding(lane, asked, total)} core{'s' * (decoding(lane, asked, total) != 1)}"
                    work = "decoding on " if lane.name in looks else ""
                    lines.append(f"workers here: {lane.limit} of {lane.name}, {card}{work}{many} each")
    return lines


def _lane(segment: list[Stage], total: int, gpus: int) -> Lane:
    share, where = max(s.gpus for s in segment), segment_kind(segment)
    return Lane(
        " + ".join(s.name for s in segment),
        Target(),
        where,
        share,
        model_workers(total, gpus, share) if where == "model" else 1,
    )


def requests(out: str | None) -> list[str]:
    """For a run that shares fetches: the pictures on its pages, the requests made, and why others were not."""
    store = Store(out) if out else None
    record = json.loads(store.read("recipe.json")) if store and store.exists("recipe.json") else {}
    shared = record.get("notes", {}).get("shared_url")
    if not shared:
        return []
    brought = sum(
        n
        for stage, n in views.connect(store)
        .sql("""select stage, sum(rows)::bigint from funnel where "table" = 'images' group by all""")
        .fetchall()
        if stage != "source"
    )
    return [
        f"requests: {shared['requests']:,} for {brought:,} images of the input ({100 * (1 - shared['requests'] / max(1, brought)):.1f} % saved): "
        f"{brought - shared['rows']:,} fell to rules that need no bytes, {shared['saved']:,} share the URL of another"
    ]


def _line(recipe: Recipe, step: Any, done: Counter, parts: int) -> tuple[str, ...]:
    bounds = [
        f"{k} {','.join(map(str, v)) if isinstance(v, (list, tuple)) else v}"
        for k, v in step.parameters().items()
        if k in ("min", "max", "among", "sql", "fraction", "t") and v not in (None, [], "")
    ]
    place = {"selector": "whole pool", "cpu": "core", "network": "network", "model": "actor"}[kind(step)]
    gpus = step.gpus or share_of_card(step.device)
    place += f", {gpus:g} GPU where there is one" if gpus else ""
    state = "" if not parts or isinstance(step, Selector) else f"{done[step.name]:,} of {parts:,} parts"
    return (step.name, ", ".join(step.reads) or "-", ", ".join(step.adds()) or "-", ", ".join(bounds) or "-", place, state)


def progress_of(recipe: Recipe, out: str, part_size: int) -> tuple[Counter, int]:
    """The number of parts with columns of each stage, and the number of parts."""
    store, done, parts = Store(out), Counter(), 0
    settle(recipe, store.json("recipe.json"))
    folders = set(store.names(PARTS))
    known = {i["path"]: i for i in (run_record(store) or {}).get("inputs", [])}
    for path in recipe.source.files():
        key = input_key(file_identity(path, known.get(path)), recipe.source, part_size)
        for folder in [f for f in folders if f.startswith(f"{key}-")]:
            parts += 1
            names = store.names(f"{PARTS}/{folder}")
            for step in recipe.steps:
                head = f"{step.table}.{step.name}-"
                head += "" if step.context else f"{recipe.fingerprints[step.name]}."
                done[step.name] += isinstance(step, Stage) and any(n.startswith(head) for n in names)
    return done, parts
