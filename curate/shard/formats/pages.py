"""Export of documents: OBELICS' and MINT-1T's rows, mmc4's lines, OpenFlamingo's tars, Markdown."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.documents import export
from curate.fetch.isolate import Isolated
from curate.shard.formats.base import Options, json_line
from curate.shard.samples import Samples, ShardSample

_TEXTS = pa.list_(pa.large_string())
OBELICS = pa.schema(
    [("texts", _TEXTS), ("images", _TEXTS), ("metadata", pa.large_string()), ("general_metadata", pa.large_string())]
)
MINT = pa.schema([("texts", _TEXTS), ("images", _TEXTS), ("url", pa.large_string()), ("uid", pa.large_string())])
#: Columns that a format reads from the ledger: the page's input file; the embeddings for mmc4's matrix, and the faces.
OBELICS_LEDGER = {"documents": ("source_file",)}
MMC4_LEDGER = {"images": ("position", "clip_image", "faces_boxes"), "texts": ("position", "clip_text")}


def obelics(sample: ShardSample, options: Options) -> dict[str, Any]:
    return export.obelics(sample.info, next(iter(sample.ledger.get("documents", ())), {}))


def mint(sample: ShardSample, options: Options) -> dict[str, Any]:
    return export.mint(sample.info)


def mmc4(sample: ShardSample, options: Options) -> dict[str, Any]:
    return export.mmc4(sample.info, sample.ledger.get("images", ()), sample.ledger.get("texts", ()))


def openflamingo(sample: ShardSample, options: Options, child: Isolated) -> dict[str, bytes]:
    """One `.json` member with the images in base64."""
    return {"json": json_line(export.openflamingo(sample.info, sample.read)).encode()}


def markdown(samples: Samples, out: Path, options: Options) -> int:
    """A Markdown file for each document, and a folder with the images."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    count = 0
    for sample in samples:
        (out / f"{sample.key}.md").write_text(export.markdown(sample.info), encoding="utf-8")
        for name in filter(None, sample.info["images"]):
            (out / "images" / f"{sample.info['uid']}.{name}").write_bytes(sample.read(name))
        count += 1
    return count
