"""An interleaved document as a WebDataset sample: `<key>.json` with parallel lists, and its images `<key>.0.jpg`, `<key>.1.png` …
in reading order.

`texts` and `images` have the same length, and at each index exactly one of the two is not null (OBELICS' and MINT-1T's format).
`images[i]` is the image's member name without the key. `image_info` describes the images in reading order (mmc4's format);
`matched_text_index` counts the texts only. Images are not in base64; a member's bytes are those that were fetched.

A clip of a video is a document too (sources/videos.py): it also has `<key>.txt`, its transcript, and `<key>.wav` if its sound was
extracted. So is a sound file with its text (sources/audio_pairs.py): `<key>.txt`, and `<key>.flac|mp3|ogg|wav`, the file as it is.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import PoolError
from curate.fetch.image import SUFFIX
from curate.shard.members import LEFT_OUT, Members, Slice, to_json

#: Columns of an image that locate its bytes or record its outcome, and do not describe it.
_LEDGER = LEFT_OUT - {"position"} | {"doc_uid", "key", "candidates"}


class DocumentMembers:
    """Builds the tar members of the documents of one shard.

    texts, images: the shard's rows, sorted by `place` (of the document in the shard) and `position` (on the page). without: columns
    of images to leave out.
    """

    def __init__(self, texts: pa.Table, images: pa.Table, without: tuple[str, ...] = ()):
        self.texts, self.images = texts, images.select([c for c in images.column_names if c not in without])
        self.starts = [np.asarray(t["place"]) for t in (texts, images)]

    def __call__(self, row: Mapping[str, Any], meta: Mapping[str, Any], hashed: str | None) -> Members:
        texts, images = (self._rows_of(t, places, row["place"]) for t, places in zip((self.texts, self.images), self.starts))
        return document_members(row, texts, images, meta, hashed)

    def _rows_of(self, rows: pa.Table, places: np.ndarray, place: int) -> list[dict[str, Any]]:
        start, end = np.searchsorted(places, [place, place + 1]).tolist()
        return rows.slice(start, end - start).to_pylist()


def document_members(
    row: Mapping[str, Any],
    texts: Iterable[Mapping],
    images: Iterable[Mapping],
    meta: Mapping[str, Any],
    hashed: str | None = "sha256",
) -> Members:
    """The members of one document: `json`, then `0.jpg`, `1.png` … in reading order.

    row: the document; texts, images: its kept rows, in any order; meta: fields of the document for the JSON; hashed: the
    column with the SHA-256 of the kept bytes, or None.
    """
    pictures, words = (sorted(children, key=lambda c: c["position"]) for children in (images, texts))
    names = [_member_name(k, image) for k, image in enumerate(pictures)]
    made: Members = {"json": to_json(document_json(row, words, pictures, names, meta))}
    for name, image in zip(names, pictures):
        made[name] = Slice(image["payload"], image["payload_offset"], image["payload_size"], image[hashed] if hashed else None)
    if row.get("video") or row.get("audio"):
        made["txt"] = transcript(t["text"] for t in words)
    if row.get("payload"):
        made[row.get("sound_format") or "wav"] = Slice(
            row["payload"], row["payload_offset"], row["payload_size"], row["sound_sha256"]
        )
    return made


def transcript(texts: Iterable[str]) -> bytes:
    """The content of `<key>.txt`: the texts of a clip or of a sound file, joined by spaces."""
    return " ".join(texts).encode()


def _member_name(k: int, image: Mapping[str, Any]) -> str:
    """`<k>.<suffix>`; PoolError if the image has no bytes of a known format."""
    suffix = SUFFIX.get(image.get("mime"))
    if suffix is None or image.get("payload") is None:
        raise PoolError(f"no bytes of a known image format ({image.get('mime')}, uid {image['uid']})")
    return f"{k}.{suffix}"


def document_json(
    row: Mapping[str, Any], texts: Iterable[Mapping], images: list[Mapping], names: list[str], meta: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `<key>.json`. `texts` and `images` are in page order, `names` are the images' member names."""
    words = list(texts)
    items = sorted(
        [(t["position"], t, None) for t in words] + [(i["position"], None, n) for i, n in zip(images, names)],
        key=lambda p: p[0],
    )
    after = [sum(t["position"] < i["position"] for t in words) for i in images]
    index = {t["position"]: k for k, t in enumerate(words)}
    return {
        **meta,
        "uid": row["uid"],
        "url": row.get("url"),
        "texts": [t and t["text"] for _, t, _ in items],
        "images": [n for _, _, n in items],
        "kinds": [t and _kind(t) for _, t, _ in items],
        "positions": [p for p, _, _ in items],
        "image_info": [_image_info(i, n, index, min(a, len(words) - 1)) for i, n, a in zip(images, names, after)],
    }


def _kind(text: Mapping[str, Any]) -> str:
    """The kind of a text: `paragraph`, `list`, `code` …; of a heading with its level, `heading2`."""
    kind, level = text.get("kind") or "paragraph", text.get("level")
    return f"{kind}{level}" if kind == "heading" and level else kind


def _image_info(image: Mapping[str, Any], name: str, index: Mapping[int, int], following: int) -> dict[str, Any]:
    """An image's entry in `image_info`, in mmc4's format. An image without alignment, or aligned to a dropped text, is matched to the
    text that follows it on the page, with a null similarity."""
    matched = index.get(image.get("align_position"))
    return {
        **{c: v for c, v in image.items() if c not in _LEDGER and not isinstance(v, (bytes, list))},
        "image_name": name,
        "raw_url": image.get("url"),
        "matched_text_index": matched if matched is not None else following if following >= 0 else None,
        "matched_sim": image.get("align") if matched is not None else None,
    }


def read_document(sample: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON of a document and its images' bytes in reading order, from a sample as `webdataset` reads it (`json`, `0.jpg` …).
    PoolError if the document is invalid or a member is missing."""
    document = json.loads(sample["json"]) if isinstance(sample["json"], (bytes, str)) else sample["json"]
    fault = document_fault(document)
    missing = [n for n in document.get("images", ()) if n is not None and n not in sample]
    if fault or missing:
        raise PoolError(f"document {document.get('uid')}: {fault or f'no member {missing[0]}'}")
    return document, [sample[n] for n in document["images"] if n is not None]


def document_fault(document: Mapping[str, Any]) -> str | None:
    """The violation of this module's format in a document's JSON, or None."""
    texts, images, info = document.get("texts"), document.get("images"), document.get("image_info")
    if texts is None or images is None or info is None:
        return "texts, images or image_info is missing"
    if len(texts) != len(images):
        return f"{len(texts)} texts beside {len(images)} images"
    if any((t is None) == (i is None) for t, i in zip(texts, images)):
        return "a place holds both a text and an image, or neither"
    names = [n for n in images if n is not None]
    if names != [i["image_name"] for i in info]:
        return "image_info is not in reading order"
    if [int(n.split(".", 1)[0]) for n in names] != list(range(len(names))):
        return "the k-th placeholder is not the k-th image"
    count = len(texts) - len(names)
    if any(i["matched_text_index"] is not None and not 0 <= i["matched_text_index"] < count for i in info):
        return "an image is matched to a text that is not there"
    return None
