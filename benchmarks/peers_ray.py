"""Ray Data's side of `benchmarks/peers.py`: the same rules as a user would write them with `map_batches` and `write_webdataset`.

    python benchmarks/peers_ray.py POOL OUT

Words, characters, fastText's language, sides and ratio, equal 64-bit perceptual hashes by `groupby`. No resume, no reasons, no
ledger: what falls is gone.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import ray


class Judge:
    """Decodes, measures and filters a batch, and adds the perceptual hash."""

    def __init__(self) -> None:
        from curate.filters.language import Language

        self.language = Language(min=None)
        self.language.load()

    def __call__(self, batch: pa.Table) -> pa.Table:
        from curate.dedup.phash import hashes

        texts = [t.decode() if isinstance(t, bytes) else t for t in batch["txt"].to_pylist()]
        spoken = [label for label, _ in self.language.first([t.replace("\n", " ") for t in texts])]
        found = []
        for text, label, data in zip(texts, spoken, batch["jpg"].to_pylist(), strict=True):
            fits = len(text.split()) >= 3 and len(text) >= 6 and label == "en"
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if fits else None
            if pixels is None:
                found.append(None)
                continue
            height, width = pixels.shape[:2]
            good = min(width, height) >= 100 and max(width, height) <= 3 * min(width, height)
            hash = hashes(pixels) if good else None
            found.append(f"{int(hash[0]):016x}" if hash is not None else None)
        rows = pa.table(
            {"__key__": batch["__key__"], "jpg": batch["jpg"], "txt": batch["txt"], "hash": pa.array(found, pa.string())}
        )
        return rows.filter(rows["hash"].is_valid())


def main() -> None:
    pool, out = map(Path, sys.argv[1:])
    rows = ray.data.read_webdataset(str(pool / "tars"), decoder=False)
    judged = rows.map_batches(Judge, batch_format="pyarrow", batch_size=256, concurrency=2)
    kept = (
        judged.groupby("hash")
        .map_groups(lambda group: group.slice(0, 1), batch_format="pyarrow")
        .drop_columns(["hash"])
        .materialize()
    )
    kept.write_webdataset(str(out))
    keys = sorted(
        int(k.decode() if isinstance(k, bytes) else k)
        for k in (row["__key__"] for row in kept.select_columns(["__key__"]).iter_rows())
    )
    print(json.dumps({"kept": keys, "reasons": {}}))


if __name__ == "__main__":
    ray.init(log_to_driver=False, include_dashboard=False)
    main()
