"""Data-Juicer's side of `benchmarks/filters.py`: run by the Python of an environment that has py-data-juicer, never
together with curate.

Each operator's statistics are computed the way the operator itself does, in batches of 1,000 samples, in this process: what
it costs to get data in and out of its dataset format is left out. Prints JSON: operator -> rows per CPU second, and its
values.
"""

import json
import os
import sys
import time
from pathlib import Path

BATCH = 1000


def operators(folder: Path) -> dict:
    """Our column -> (their operator, what it reads, the statistic in its output)."""
    os.environ["DATA_JUICER_MODELS_CACHE"] = str(folder / "models")  # read at import
    from data_juicer.ops.filter import (
        character_repetition_filter,
        image_aspect_ratio_filter,
        image_face_count_filter,
        image_shape_filter,
        image_size_filter,
        language_id_score_filter,
        special_characters_filter,
        text_length_filter,
        word_repetition_filter,
        words_num_filter,
    )

    return {
        "caption_chars": (text_length_filter.TextLengthFilter(), "text", "text_len"),
        "caption_words": (words_num_filter.WordsNumFilter(lang="en", tokenization=False), "text", "num_words"),
        "caption_repetition": (
            word_repetition_filter.WordRepetitionFilter(lang="en", tokenization=False, rep_len=1),
            "text",
            "word_rep_ratio",
        ),
        "paragraph_char_repetition": (
            character_repetition_filter.CharacterRepetitionFilter(rep_len=10),
            "text",
            "char_rep_ratio",
        ),
        "paragraph_symbols": (special_characters_filter.SpecialCharactersFilter(), "text", "special_char_ratio"),
        "language": (language_id_score_filter.LanguageIDScoreFilter(lang="en"), "text", "lang"),
        "image_side": (image_shape_filter.ImageShapeFilter(), "image", "image_width"),
        "aspect_ratio": (image_aspect_ratio_filter.ImageAspectRatioFilter(), "image", "aspect_ratios"),
        "image_bytes": (image_size_filter.ImageSizeFilter(), "image", "image_sizes"),
        "faces": (image_face_count_filter.ImageFaceCountFilter(), "image", "face_counts"),
    }


def statistics(operator, reads: str, part: list[str]) -> list[dict]:
    samples = {
        "text": part if reads == "text" else [""] * len(part),
        "images": [[p] if reads == "image" else [] for p in part],
        "__dj__stats__": [{} for _ in part],
    }
    return operator.compute_stats_batched(samples)["__dj__stats__"]


def main(folder: Path) -> None:
    texts = json.loads((folder / "texts.json").read_text())
    images = sorted(str(p) for p in (folder / "images").iterdir())
    found = {}
    for column, (operator, reads, statistic) in operators(folder).items():
        rows = texts if reads == "text" else images
        statistics(operator, reads, rows[:1])  # loads what there is to load
        values, spent = [], 0.0
        for i in range(0, len(rows), BATCH):
            started = time.process_time()
            done = statistics(operator, reads, rows[i : i + BATCH])
            spent += time.process_time() - started
            values += [s[statistic] for s in done]
        flat = [v[0] if hasattr(v, "__len__") and not isinstance(v, str) else v for v in values]
        found[column] = {
            "operator": type(operator).__name__,
            "rate": len(values) / spent,
            "values": [v if isinstance(v, str) else float(v) for v in flat],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
