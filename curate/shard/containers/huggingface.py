"""A folder as Hugging Face's hub has data sets: Parquet with the pictures' bytes, features in the schema, and a card with the split."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from curate.errors import RecipeError
from curate.shard.containers.base import ContainerShards, batches, media, sound_of
from curate.shard.containers.lance import filled
from curate.store.atomic import Store
from curate.store.parquet import write_groups

#: Rows of a group: what the hub's viewer and a streaming loader read at a time.
ROWS = 100

_FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_OWN = {
    "key": pa.string(),
    "image": _FILE,
    "caption": pa.string(),
    "texts": pa.list_(pa.string()),
    "images": pa.list_(_FILE),
    "sound": _FILE,
}
_FEATURES = {
    "image": {"_type": "Image"},
    "images": {"_type": "List", "feature": {"_type": "Image"}},
    "sound": {"_type": "Audio"},
}

#: The hub's words for how many samples there are.
_STEPS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SIZES = [(1000, "n<1K"), *((10 ** (n + 4), f"{a}<n<{b}") for n, (a, b) in enumerate(itertools.pairwise(_STEPS)))]


class HuggingFace:
    """`data/train-00000-of-00010.parquet` …, `README.md`: for `datasets.load_dataset(folder)`, the hub and its viewer."""

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        name, schema = f"data/train-{number:05d}-of-{of:05d}.parquet", _schema(shards, shard["name"])
        with out.private(name) as path:
            size = write_groups(path, schema, _tables(shards, shard["name"], schema), True, ROWS, checksum=False)
            out.publish(name, path, size)
        return {"bytes": size}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        card = shards.store.read("README.md").decode() if shards.store.exists("README.md") else "# A data set made by curate\n"
        out.publish_bytes("README.md", (_front(dataset) + _body(card)).encode())


def _front(dataset: dict[str, Any]) -> str:
    """The card's metadata: where the split is, so that the hub and `load_dataset` need not guess."""
    size = next((name for most, name in _SIZES if dataset["samples"] < most), "n>1T")
    return (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*.parquet\n"
        f"size_categories:\n- {size}\n---\n"
    )


def _body(card: str) -> str:
    """A card without metadata of its own."""
    return card.split("---\n", 2)[2] if card.startswith("---\n") and card.count("---\n") > 1 else card


def _schema(shards: ContainerShards, name: str) -> pa.Schema:
    own = {n: _OWN[n] for n in shards.fields(name)}
    rest = [pa.field(f.name, _narrow(f.type)) for f in shards.sidecar(name).schema if f.name not in own]
    # Of the other columns `datasets` finds the features in Arrow's types.
    schema = pa.schema([*own.items(), *rest])
    features = {f.name: (f.name in own and _FEATURES.get(f.name)) or _feature(f.type) for f in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _narrow(kind: pa.DataType) -> pa.DataType:
    """Row groups are small: 32-bit offsets do, which every reader takes."""
    if pt.is_large_list(kind) or pt.is_list(kind):
        return pa.list_(_narrow(kind.value_type))
    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(kind, kind)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A type as `datasets` spells features."""
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        length = {"length": kind.list_size} if pt.is_fixed_size_list(kind) else {}
        return {"_type": "List", "feature": _feature(kind.value_type), **length}
    names = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


def _tables(shards: ContainerShards, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
    for rows, samples in batches(shards, name, ROWS, _pictured):
        yield filled(rows.cast(_cast(rows.schema)), samples, schema)


def _cast(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(f.name, _narrow(f.type)) for f in schema])


def _pictured(sample: Any, table: str) -> dict[str, Any]:
    found = media(sample, table)
    if table == "images":
        return {**found, "image": {"bytes": found["image"], "path": f"{sample.key}.{sample.picture}"}}
    names = [n and f"{sample.key}.{n}" for n in sample.info["images"]]
    sound = found["sound"] and {"bytes": found["sound"], "path": f"{sample.key}.{sound_of(sample)}"}
    return {**found, "images": [n and {"bytes": b, "path": n} for n, b in zip(names, found["images"])], "sound": sound}


def push(folder: str, repository: str, api: Any = None, private: bool = True) -> str:
    """Upload a folder that `HuggingFace` wrote, to a data set of the hub; returns its address. The token is HF_TOKEN's, or the one that
    `hf auth login` stored; files that are there already are not sent again.

    api: a `huggingface_hub.HfApi`. RecipeError says what the hub answered.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
    except ImportError as e:
        raise RecipeError("the hub is reached by the package huggingface_hub: pip install huggingface_hub") from e
    api = api or HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder, repo_id=repository, repo_type="dataset", ignore_patterns=["export.json", ".private/**"]
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, ValueError, OSError) as e:
        raise RecipeError(f"{repository}: cannot be pushed: {e}") from e
    return f"{api.endpoint}/datasets/{repository}"
