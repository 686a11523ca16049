"""Data-Juicer's side of `benchmarks/filters.py`: run by the Python of an environment that has py-data-juicer, never
together with curate.

Each operator's statistics are computed the way the operator itself does, in batches of 1,000 samples, in this process: what
it costs to get data in and out of its dataset format is left out. Prints JSON: our column -> the operator, its rows per CPU
second (the best of three rounds), and its values.
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
    from data_juicer.ops import filter as f
    from data_juicer.ops.mapper.image_face_blur_mapper import ImageFaceBlurMapper

    words = str(folder / "words")
    plain = {"lang": "en", "tokenization": False}
    return {
        "caption_chars": (f.TextLengthFilter(), "text", "text_len"),
        "caption_words": (f.WordsNumFilter(**plain), "text", "num_words"),
        "script_words": (f.WordsNumFilter(**plain), "text", "num_words"),
        "caption_repetition": (f.WordRepetitionFilter(**plain, rep_len=1), "text", "word_rep_ratio"),
        "language": (f.LanguageIDScoreFilter(lang="en"), "text", "lang"),
        "paragraph_words": (f.WordsNumFilter(**plain), "text", "num_words"),
        "paragraph_symbols": (f.SpecialCharactersFilter(), "text", "special_char_ratio"),
        "paragraph_char_repetition": (f.CharacterRepetitionFilter(rep_len=10), "text", "char_rep_ratio"),
        "paragraph_word_repetition": (f.WordRepetitionFilter(**plain, rep_len=5), "text", "word_rep_ratio"),
        "paragraph_stop_words": (f.StopWordsFilter(**plain, stopwords_dir=words), "text", "stopwords_ratio"),
        "paragraph_flagged_words": (f.FlaggedWordFilter(**plain, flagged_words_dir=words), "text", "flagged_words_ratio"),
        "document_words": (f.WordsNumFilter(**plain), "document", "num_words"),
        "document_symbols": (f.SpecialCharactersFilter(), "document", "special_char_ratio"),
        "document_char_repetition": (f.CharacterRepetitionFilter(rep_len=10), "document", "char_rep_ratio"),
        "document_word_repetition": (f.WordRepetitionFilter(**plain, rep_len=5), "document", "word_rep_ratio"),
        "document_stop_words": (f.StopWordsFilter(**plain, stopwords_dir=words), "document", "stopwords_ratio"),
        "document_flagged_words": (f.FlaggedWordFilter(**plain, flagged_words_dir=words), "document", "flagged_words_ratio"),
        "image_side": (f.ImageShapeFilter(), "image", "image_width"),
        "aspect_ratio": (f.ImageAspectRatioFilter(), "image", "aspect_ratios"),
        "image_bytes": (f.ImageSizeFilter(), "image", "image_sizes"),
        "faces": (f.ImageFaceCountFilter(), "image", "face_counts"),
        "blur_faces": (ImageFaceBlurMapper(save_dir=str(folder / "blurred")), "image", None),
    }


def statistics(operator, reads: str, part: list[str], statistic: str | None) -> list:
    """What the operator says of some rows; None of those that a mapper changes."""
    samples = {
        "text": [""] * len(part) if reads == "image" else part,
        "images": [[p] if reads == "image" else [] for p in part],
        "__dj__stats__": [{} for _ in part],
    }
    if statistic is None:
        return [
            operator.process_single({"text": "", "images": images, "__dj__source_file__": []}) and None
            for images in samples["images"]
        ]
    if hasattr(operator, "compute_stats_batched"):
        return [s[statistic] for s in operator.compute_stats_batched(samples)["__dj__stats__"]]
    return [
        operator.compute_stats_single({k: v[i] for k, v in samples.items()})["__dj__stats__"][statistic]
        for i in range(len(part))
    ]


def main(folder: Path) -> None:
    rows = json.loads((folder / "rows.json").read_text())
    rows["image"] = sorted(str(p) for p in (folder / "images").iterdir())
    found = {}
    for column, (operator, reads, statistic) in operators(folder).items():
        statistics(operator, reads, rows[reads][:1], statistic)  # loads what there is to load
        spent = []
        for _ in range(3):
            values, started = [], time.process_time()
            for i in range(0, len(rows[reads]), BATCH):
                values += statistics(operator, reads, rows[reads][i : i + BATCH], statistic)
            spent.append(time.process_time() - started)
        flat = [v[0] if hasattr(v, "__len__") and not isinstance(v, str) else v for v in values]
        found[column] = {
            "operator": type(operator).__name__,
            "rate": len(values) / min(spent),
            "values": [] if statistic is None else [v if isinstance(v, str) else float(v) for v in flat],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
