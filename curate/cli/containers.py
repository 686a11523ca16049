"""`curate export` to the container formats of training data loaders."""

import argparse
from typing import TYPE_CHECKING

from curate.errors import RecipeError

if TYPE_CHECKING:
    from curate.shard.containers.base import Container

#: Each container, and what it writes.
CONTAINERS = {
    "webdataset": "the tars, with wids.json and Megatron Energon's .nv-meta and .tar.idx beside them, a folder",
    "mds": "pairs as MosaicML's MDS, for StreamingDataset, a folder",
    "lance": "a Lance table with the pictures in it, data.lance in a folder",
    "huggingface": "Parquet with the pictures in it and a card, for datasets.load_dataset and the hub, a folder",
    "annotations": "--columns of the samples as tables beside the shards, in their order, a folder",
}


def container_options(sub: argparse.ArgumentParser) -> None:
    """Add the options of container formats."""
    group = sub.add_argument_group("containers", "webdataset, mds, lance, huggingface, annotations: one task a shard")
    group.add_argument("--columns", metavar="COLUMN", nargs="+", default=(), help="annotations: columns of the ledger")
    group.add_argument(
        "--push", metavar="OWNER/NAME", help="huggingface: upload it to this data set of the hub (token: HF_TOKEN)"
    )
    group.add_argument("--public", action="store_true", help="--push: anybody may read the data set if it is new")
    group.add_argument("--engine", choices=("ray", "local"), default="local", help="where the shards are written")
    group.add_argument("--address", metavar="HOST:PORT", help="--engine ray: the cluster")


def write_container(args: argparse.Namespace) -> int:
    """Write a run's shards to the container format that the arguments name; returns the number of samples."""
    from curate.runner.engine import start
    from curate.shard.containers.base import convert
    from curate.view.reading import consistent, still_as_read

    if bool(args.columns) != (args.format == "annotations"):
        raise RecipeError("--format annotations and --columns go together: say which columns of the ledger")
    if args.push and args.format != "huggingface":
        raise RecipeError("--push goes with --format huggingface")
    container, engine = _container(args.format), start(args.engine, args.address)
    try:
        made = consistent(
            [args.folder],
            lambda run: convert(
                run.store, run.dataset, container, args.out, engine.map, args.columns, lambda: still_as_read(run)
            ),
        )
    finally:
        engine.shutdown()
    if args.push:
        from curate.shard.containers.huggingface import push

        print(push(args.out, args.push, private=not args.public))
    return made


def _container(name: str) -> "Container":
    from curate.shard.containers import annotations, huggingface, lance, mds, webdataset

    return {
        "webdataset": webdataset.IndexedWebDataset,
        "mds": mds.Mds,
        "lance": lance.Lance,
        "huggingface": huggingface.HuggingFace,
        "annotations": annotations.Annotations,
    }[name]()
