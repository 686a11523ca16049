"""Lance: a columnar table with the pictures in it, for random access and search; written by pylance, a fragment or more a shard."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import RecipeError
from curate.shard.containers.base import ContainerShards, batches, media
from curate.store.atomic import Store

#: Samples whose pictures are in memory together.
ROWS = 256
#: The table's folder.
FOLDER = "data.lance"

_MEDIA = {
    "key": pa.large_string(),
    "image": pa.large_binary(),
    "caption": pa.large_string(),
    "texts": pa.list_(pa.large_string()),
    "images": pa.list_(pa.large_binary()),
    "sound": pa.large_binary(),
}


class Lance:
    """`data.lance`: the columns of the sidecar, the key, and the picture and caption of a pair, or the texts, images and sound of a document.

    pylance writes to a disk of this machine and the store uploads what it wrote, so any fsspec URL will do, with its own credentials.
    """

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        lance = _library()
        schema = fields(shards, shard["name"])
        reader = pa.RecordBatchReader.from_batches(schema, _batches(shards, shard["name"], schema))
        with _folder(out) as folder:
            made = [f.to_json() for f in lance.fragment.write_fragments(reader, folder, schema=schema, mode="append")]
            for n, file in enumerate(file for fragment in made for file in fragment["files"]):
                written, file["path"] = file["path"], f"{shard['name']}.{n:03d}.lance"
                _publish(out, f"data/{file['path']}", folder / "data" / written)
        return {"fragments": [json.dumps(f) for f in made], "schema": schema.serialize().to_pybytes().hex()}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        lance = _library()
        found = [lance.fragment.FragmentMetadata.from_json(f) for w in written for f in w["fragments"]]
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(written[0]["schema"])))
        with _folder(out) as folder:
            lance.LanceDataset.commit(folder, lance.LanceOperation.Overwrite(schema, found))
            # The manifest last: it is what makes the files a table.
            for path in sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.suffix == ".manifest"):
                _publish(out, str(path.relative_to(folder)), path)


@contextlib.contextmanager
def _folder(out: Store) -> Iterator[Path]:
    """A name for a folder where the store's unfinished files are; removed afterwards."""
    with out.private(FOLDER) as folder:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _publish(out: Store, name: str, path: Path) -> None:
    with out.private(f"{FOLDER}/{name}") as private:
        size = path.stat().st_size
        path.replace(private)
        out.publish(f"{FOLDER}/{name}", private, size)


def _library() -> Any:
    try:
        import lance
        import lance.fragment
    except ImportError as e:
        raise RecipeError("Lance is written by the package pylance: pip install pylance") from e
    return lance


def fields(shards: ContainerShards, name: str) -> pa.Schema:
    """The columns of a table with media in it: those of a sample, then those of the sidecar."""
    own = {n: _MEDIA[n] for n in shards.fields(name)}
    return pa.schema([*own.items(), *(f for f in shards.sidecar(name).schema if f.name not in own)])


def _batches(shards: ContainerShards, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for rows, samples in batches(shards, name, ROWS, media):
        yield from filled(rows, samples, schema).to_batches()


def filled(rows: pa.Table, samples: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of the sidecar with the samples' own content, in the columns of a schema."""
    made = [
        pa.array([s[f.name] for s in samples], f.type) if f.name in samples[0] else rows[f.name].combine_chunks()
        for f in schema
    ]
    return pa.table(made, schema=schema)
