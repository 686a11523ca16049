"""NeMo Curator's side of `benchmarks/peers.py`, run by the Python of its own environment: what of it runs without a GPU.

text          the captions alone: JsonlReader, WordCountFilter, FastTextLangId, JsonlWriter; a file is a task, so one core reads it
interleaved   each pair as a document of two rows: InterleavedWebdatasetReader, the aspect-ratio filter, Parquet; a tar is a task
image         ImageReaderStage over the same tars; fails without CUDA, as its DALI pipeline names device 0 whatever decodes
"""

import os
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


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
    # `ray start` takes up a token that an earlier Ray left in ~/.ray, `ray status` does not, and RayClient waits 300 s for its answer.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

    from nemo_curator.backends.ray_data import RayDataExecutor
    from nemo_curator.core.client import RayClient
    from nemo_curator.pipeline import Pipeline
    from nemo_curator.tasks.utils import TaskPerfUtils

    kind, pool, out, model = sys.argv[1:]
    stages = {"text": text, "interleaved": interleaved, "image": image}[kind](Path(pool), Path(out), model)
    # RayClient leaves its address in its folder: in /tmp/ray, the next ray.init() of anyone would look for this cluster.
    with (
        TemporaryDirectory(prefix="nemo-", ignore_cleanup_errors=True) as folder,
        RayClient(num_cpus=os.cpu_count(), num_gpus=0, ray_temp_dir=folder),
    ):
        # The default, Xenna, wants a core for each stage at once (4.5 for text). In its batch mode it is no faster than Ray Data.
        done = Pipeline(name=kind, stages=stages).run(RayDataExecutor())
    spent = TaskPerfUtils.collect_stage_metrics(done)
    print("kept; seconds inside stages:", ", ".join(f"{name} {m['process_time'].sum():.2f}" for name, m in spent.items()))
