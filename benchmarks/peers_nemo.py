"""NeMo Curator's side of `benchmarks/peers.py`, run by the Python of its own environment: what of it runs without a GPU.

text          the captions alone: JsonlReader, WordCountFilter, FastTextLangId, JsonlWriter
interleaved   each pair as a document of two rows: InterleavedWebdatasetReader, the aspect-ratio filter, Parquet
image         ImageReaderStage over the same tars
"""

import sys
from pathlib import Path


def text(pool: Path, out: Path, model: str) -> list:
    from nemo_curator.stages.text.filters import ScoreFilter
    from nemo_curator.stages.text.filters.fasttext import FastTextLangId
    from nemo_curator.stages.text.filters.heuristic import WordCountFilter
    from nemo_curator.stages.text.io.reader import JsonlReader
    from nemo_curator.stages.text.io.writer import JsonlWriter

    return [
        JsonlReader(str(pool / "pairs.jsonl")),
        ScoreFilter(WordCountFilter(min_words=3, max_words=10**9)),
        ScoreFilter(FastTextLangId(model, min_langid_score=0.0, lang="en"), score_field="language"),
        JsonlWriter(str(out)),
    ]


def interleaved(pool: Path, out: Path, model: str) -> list:
    from nemo_curator.stages.interleaved.io.reader import InterleavedWebdatasetReader
    from nemo_curator.stages.interleaved.io.writers.tabular import InterleavedParquetWriterStage
    from nemo_curator.stages.interleaved.stages import InterleavedAspectRatioFilterStage

    return [
        InterleavedWebdatasetReader(str(pool / "documents"), files_per_partition=1),
        InterleavedAspectRatioFilterStage(min_aspect_ratio=1 / 3, max_aspect_ratio=3.0),
        InterleavedParquetWriterStage(str(out)),
    ]


def image(pool: Path, out: Path, model: str) -> list:
    from nemo_curator.stages.file_partitioning import FilePartitioningStage
    from nemo_curator.stages.image.io.image_reader import ImageReaderStage

    return [FilePartitioningStage(str(pool / "tars"), files_per_partition=1, file_extensions=[".tar"]), ImageReaderStage()]


if __name__ == "__main__":
    from nemo_curator.backends.ray_data import RayDataExecutor
    from nemo_curator.core.client import RayClient
    from nemo_curator.pipeline import Pipeline

    kind, pool, out, model = sys.argv[1:]
    client = RayClient(num_cpus=2, num_gpus=0)
    client.start()
    pipeline = Pipeline(
        name=kind, stages={"text": text, "interleaved": interleaved, "image": image}[kind](Path(pool), Path(out), model)
    )
    done = pipeline.run(RayDataExecutor())
    print(f"kept {sum(t.num_items for t in done or [])} items")
    client.stop()
