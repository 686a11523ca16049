"""Training mixes of several runs: the share of each in the samples, and the command lines of trainers."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PoolError, RecipeError
from curate.shard.write import shard_names
from curate.store.atomic import Store
from curate.store.releases import named

#: Templates of the trainers' command lines; {} are paths and numbers of a mix.
_OPEN_CLIP = (
    "python -m open_clip_train.main --dataset-type webdataset --dataset-resampled --train-data {data} "
    "--train-data-upsampling-factors {factors} --train-num-samples {samples}"
)
_EXPORT = "curate export {run} --format webdataset -o {folder}"
_ENERGON = (
    "from megatron.energon import WorkerConfig, get_train_dataset; "
    "mix = get_train_dataset({file!r}, worker_config=WorkerConfig.default_worker_config(), "
    "batch_size=32, shuffle_buffer_size=1000, max_samples_per_sequence=100)"
)
_DATASETS = (
    "import json; from datasets import interleave_datasets, load_dataset; sources = json.load(open({file!r}))['sources']; "
    "sets = [load_dataset('webdataset', data_files=s['tars'], split='train', streaming=True) for s in sources]; "
    "mix = interleave_datasets(sets, probabilities=[s['share'] for s in sources], seed=0, stopping_strategy='all_exhausted')"
)


@dataclass(frozen=True)
class Share:
    """The shards of one release of a run in a mix. share: of the samples that a trainer draws; factor: how much more often each of its
    samples is drawn than in a mix by size; tokens: of its captions, None where they were not counted."""

    run: str
    tars: list[str]
    pattern: str
    samples: int
    tokens: int | None
    share: float
    factor: float


@dataclass(frozen=True)
class Blend:
    """A mix: its sources, whose shares add up to 1, and a command line for each trainer."""

    sources: list[Share]
    commands: dict[str, list[str]]


def blend(runs: list[tuple[str, float | None]], out: str, by: str = "samples", tokens: str = "caption_tokens") -> Blend:
    """Write the mix of runs with their weights to `out` (blend.json), and beside it Energon's metadataset (.yaml).

    A run includes all releases that it was made onto. weights: relative shares of the drawn samples, or (`by="tokens"`) of the tokens,
    counted in the column `tokens` of the shards; without weights each run counts by its size. RecipeError if a weight is missing or
    tokens are not counted.
    """
    weights = [w for _, w in runs]
    if not out.endswith(".json"):
        raise RecipeError(f"blend: {out}: the name must end in .json")
    if any(w is None for w in weights) and any(w is not None for w in weights):
        raise RecipeError("blend: give each run a weight (RUN=WEIGHT), or none")
    found = [_releases(place, tokens) for place, _ in runs]
    if by == "tokens" and (blind := [r["run"] for group in found for r in group if r["tokens"] is None]):
        raise RecipeError(
            f"{blind[0]}: its shards have no column {tokens}: put CaptionTokens into its recipe, or blend by samples"
        )
    sizes = [sum(r["samples"] for r in group) for group in found]
    amounts = [sum(r["tokens"] if by == "tokens" else r["samples"] for r in group) for group in found]
    # Trainers draw samples: a share of tokens is converted by the run's mean tokens per sample.
    drawn = [n if w is None else w * n / max(a, 1) for w, n, a in zip(weights, sizes, amounts)]
    if not sum(drawn):
        raise RecipeError("blend: there is nothing to draw: the runs have no samples, or no weight")
    sources = []
    for group, n, d in zip(found, sizes, drawn):
        share, whole = d / sum(drawn), sum(sizes)
        for r in (r for r in group if r["samples"]):
            sources.append(Share(**r, share=share * r["samples"] / n, factor=round(share * whole / n, 6)))
    made = Blend(sources, _commands(sources, out))
    _write(made, out)
    return made


def _releases(place: str, tokens: str) -> list[dict[str, Any]]:
    """The releases of a run, oldest first, each with the fields of its Share but share and factor."""
    last = Store(place)
    return [_release(store, tokens) for store in [*(r.at(last) for r in named(last.json("dataset.json"))), last]]


def _release(store: Store, tokens: str) -> dict[str, Any]:
    dataset = store.json("dataset.json")
    if dataset is None or (dataset["samples"] and not dataset["shards"]):
        raise PoolError(f"{store.url}: no finished run with shards is here")
    names = [shard_names(dataset)[n] for n in sorted(shard_names(dataset))]
    if "::" in store.url or any(c in store.url for c in "{}"):
        raise RecipeError(f"{store.url}: webdataset's patterns cannot name a path with :: or braces")
    span = f"{{{names[0]}..{names[-1]}}}" if len(names) > 1 else "".join(names)
    return {
        "run": store.url,
        "tars": [store.path(f"shards/{n}.tar") for n in names],
        "pattern": store.path(f"shards/{span}.tar"),
        "samples": dataset["samples"],
        "tokens": _tokens(store, names, tokens),
    }


def _tokens(store: Store, names: list[str], column: str) -> int | None:
    """The sum of a column over the Parquet sidecars; None if one of them has no such column."""
    total = 0
    for name in names:
        with store.parquet(f"shards/{name}.parquet") as file:
            if column not in file.schema_arrow.names:
                return None
            values = file.read(columns=[column])[column]
            if not pa.types.is_integer(values.type):
                raise RecipeError(f"{store.url}: column {column} does not hold integers, so it is no count of tokens")
            total += pc.sum(values).as_py() or 0
    return total


def _commands(sources: list[Share], out: str) -> dict[str, list[str]]:
    """The command lines that start each trainer; Energon's first export the shards, with its index."""
    data = "::".join(s.pattern for s in sources)
    factors = "::".join(f"{s.factor:g}" for s in sources)
    samples = sum(s.samples for s in sources)
    python = lambda code: f"python -c {shlex.quote(code)}"  # noqa: E731
    export = [_EXPORT.format(run=shlex.quote(s.run), folder=shlex.quote(str(_folder(out, n)))) for n, s in enumerate(sources)]
    return {
        "open_clip": [_OPEN_CLIP.format(data=shlex.quote(data), factors=factors, samples=samples)],
        "energon": [*export, python(_ENERGON.format(file=_yaml(out)))],
        "datasets": [python(_DATASETS.format(file=out))],
    }


def _yaml(out: str) -> str:
    return str(Path(out).with_suffix(".yaml"))


def _folder(out: str, number: int) -> Path:
    """The folder of a source's export for Energon."""
    return Path(out).with_suffix(".energon") / str(number)


def _write(made: Blend, out: str) -> None:
    """Write blend.json, and the same in Energon's format (JSON is valid YAML)."""
    listed = [
        {"path": f"{_folder(Path(out).name, n)}", "weight": s.share, "subflavors": {"run": s.run}}
        for n, s in enumerate(made.sources)
    ]
    kind = {"__module__": "megatron.energon", "__class__": "MetadatasetV2"}
    texts = {out: asdict(made), _yaml(out): {**kind, "splits": {"train": {"blend": listed}}}}
    try:
        for path, value in texts.items():
            Path(path).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    except OSError as e:
        raise PoolError(f"{e.filename}: cannot write: {e.strerror}") from e
