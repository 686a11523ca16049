"""Export of pairs for trainers of captioners and of CLIP: BLIP's and LAVIS' lists, their tars, MiniGPT-4's, CC3M's, GRIT's and
NegCLIP's tables."""

import csv
from pathlib import Path
from typing import Any

from curate.fetch.isolate import Isolated
from curate.shard.formats.base import Options, Pictures, as_jpeg
from curate.shard.members import to_json
from curate.shard.samples import Samples, ShardSample

#: MiniGPT-4's second stage opens `image/<image_id>.jpg`.
MINIGPT4 = Pictures("image", jpeg=True)
#: Fields of GRIT's rows that describe the picture, and the columns that they are here.
GRIT = {"width": "width", "height": "height", "original_width": "original_width", "original_height": "original_height"}


def blip(sample: ShardSample, options: Options) -> list[dict[str, Any]]:
    """Rows of BLIP's annotation files, and of LAVIS' caption data sets: {image, caption, image_id}, `image` relative to the folder."""
    named = {"image": Pictures().path(sample), "image_id": sample.key}
    return [{**named, "caption": caption} for caption in captions(sample, options)]


def captions(sample: ShardSample, options: Options) -> list[str]:
    """The captions of a sample: one, or with `every` all distinct ones that Mix may draw. BLIP trains on this union of the raw and the
    synthetic texts that passed its filter."""
    if options.text != "every":
        return [sample.caption(options.text)]
    variants = [v for v, chance in sample.column("chosen_probability").items() if chance]
    return list(dict.fromkeys(sample.column("text" if v == "raw" else f"caption_{v}") for v in variants))


def lavis(sample: ShardSample, options: Options, child: Isolated) -> dict[str, bytes]:
    """The members that LAVIS' LaionDataset and MiniGPT-4's first stage read from a tar: `jpg`, and `json` with `caption`."""
    return {"jpg": as_jpeg(sample, child), "json": to_json({**sample.info, "caption": sample.caption(options.text)})}


def minigpt4(sample: ShardSample, options: Options) -> dict[str, Any]:
    """An annotation of MiniGPT-4's second stage (cc_sbu_align)."""
    return {"image_id": sample.key, "caption": sample.caption(options.text)}


def cc3m(sample: ShardSample, options: Options) -> dict[str, Any]:
    """A line of Conceptual Captions: caption and URL."""
    return {"caption": sample.caption(options.text), "url": sample.info.get("url") or ""}


def grit(sample: ShardSample, options: Options) -> dict[str, Any] | None:
    """A row of GRIT: `noun_chunks` and `ref_exps` are lists of [start, end, x1, y1, x2, y2, score]: offsets in the caption (code points,
    end exclusive) and shares of width and height. Samples without boxes are left out."""
    boxes, chunks = (sample.column(f"grounding_{kind}") for kind in ("boxes", "chunks"))
    if not boxes:
        return None
    scores = {f"clip_similarity_{m}": sample.info.get(f"clip_similarity_{m}") for m in ("vitb32", "vitl14")}
    return {
        "key": sample.key,
        **scores,
        "id": sample.info.get("source_id", sample.info["uid"]),
        "url": sample.info.get("url"),
        "caption": sample.info["text"],
        **{name: sample.info.get(column) for name, column in GRIT.items()},
        "sha256": sample.info.get("sha256"),
        "noun_chunks": [[c["start"], c["end"], *c["box"], c["sure"]] for c in chunks or ()],
        "ref_exps": [[b["start"], b["end"], *b["box"], b["sure"]] for b in boxes],
    }


NEGCLIP = ("title", "filepath", "neg_caption", "neg_image")


def negclip(samples: Samples, out: Path, options: Options) -> int:
    """NegCLIP's table and the pictures: caption, path (in the folder), the negative captions and the row numbers of similar pictures,
    both as Python lists, of which the trainer draws one each. Samples without a negative caption are left out; a row none of whose
    similar pictures is in the table names the row after it."""
    rows = {s.info["uid"]: n for n, s in enumerate(s for s in samples if _negative_captions(s, options))}
    (out / "images").mkdir(parents=True, exist_ok=True)
    with open(out / "train_neg_clip.tsv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(NEGCLIP)
        kept = (s for s in samples if _negative_captions(s, options))
        for n, sample in enumerate(kept):
            similar = [rows[u] for u in sample.info.get("matching_negative_images") or () if u in rows]
            path, caption = Pictures().path(sample), " ".join(sample.caption(options.text).split())
            writer.writerow([caption, path, _negative_captions(sample, options), similar or [(n + 1) % len(rows)]])
            (out / path).write_bytes(sample.read(sample.picture))
    return len(rows)


def _negative_captions(sample: ShardSample, options: Options) -> list[str]:
    """The negative captions of a sample (HardNegatives)."""
    return sample.column(f"{options.text or 'text'}_negatives") or []
