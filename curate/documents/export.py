"""Converters of documents to public formats: OBELICS, MINT-1T, mmc4, OpenFlamingo's training loader, Markdown.

Each takes a document's JSON (document.py) and keeps the order: the k-th placeholder is the k-th image.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np


def obelics(document: dict[str, Any], page: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A row of OBELICS: parallel lists with URLs as images; consecutive texts are joined by an empty line; `metadata` and
    `general_metadata` are JSON strings, as published. page: the page's row of the ledger (`source_file`)."""
    described = iter(_obelics_image(document["url"], i) for i in document["image_info"])
    items: list[tuple[str | None, dict[str, Any] | None]] = []
    for text in document["texts"]:
        if text is not None and items and items[-1][0] is not None:
            items[-1] = (f"{items[-1][0]}\n\n{text}", None)
        else:
            items.append((text, None if text is not None else next(described)))
    general = {
        "url": document["url"],
        "uid": document["uid"],
        "warc_filename": page.get("source_file"),
        "warc_record_offset": document.get("source_offset"),
    }
    return {
        "texts": [text for text, _ in items],
        "images": [image and image["src"] for _, image in items],
        "metadata": json.dumps([image for _, image in items]),
        "general_metadata": json.dumps(general),
    }


def _obelics_image(url: str, info: dict[str, Any]) -> dict[str, Any]:
    """An image's entry in OBELICS' metadata. The rendered size is the one declared in the markup."""
    stem = PurePosixPath(unquote(urlsplit(info["raw_url"] or "").path)).stem
    ending = info["image_name"].rsplit(".", 1)[-1]
    return {
        "document_url": url,
        "src": info["raw_url"],
        "unformatted_src": info["raw_url"],
        "formatted_filename": " ".join(re.split(r"[\W_]+", stem)).strip(),
        "alt_text": info.get("alt"),
        "rendered_width": info.get("declared_width"),
        "rendered_height": info.get("declared_height"),
        "original_width": info.get("original_width"),
        "original_height": info.get("original_height"),
        "format": {"jpg": "jpeg"}.get(ending, ending),
    }


def mint(document: dict[str, Any]) -> dict[str, Any]:
    """A row of MINT-1T (HTML): parallel lists with URLs as images, and the page's URL."""
    urls = iter(i["raw_url"] for i in document["image_info"])
    images = [None if name is None else next(urls) for name in document["images"]]
    return {"texts": document["texts"], "images": images, "url": document["url"], "uid": document["uid"]}


def mmc4(
    document: dict[str, Any], images: Sequence[Mapping[str, Any]] = (), texts: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """A document of mmc4: `text_list`, `image_info` and the similarity matrix, images by texts, from 0 to 1.

    Images, and the rows of the matrix, are in the order of their matched texts, so that readers which insert placeholders by text and
    tensors by image (OpenFlamingo's) pair the right ones. images, texts: the ledger's rows (`position`, and `clip_image` or
    `clip_text`); where an image or a text has no embedding the matrix holds only the match (0 elsewhere), as 1 if it has no similarity.
    `face_detections` are the boxes that the filter Faces found, each x_min, y_min, x_max, y_max as shares of width and height; null,
    as in mmc4, where it found none or was not run.
    """
    text_positions = [p for p, t in zip(document["positions"], document["texts"]) if t is not None]
    image_positions = [p for p, t in zip(document["positions"], document["texts"]) if t is None]
    info = [(i, p) for i, p in zip(document["image_info"], image_positions) if i["matched_text_index"] is not None]
    info = sorted(info, key=lambda i: i[0]["matched_text_index"])
    cosines = _cosines([p for _, p in info], text_positions, _vectors(images, "clip_image"), _vectors(texts, "clip_text"))
    for row, (image, _) in zip(cosines, info):
        if not row[image["matched_text_index"]] or image["matched_sim"] is not None:
            row[image["matched_text_index"]] = 1.0 if image["matched_sim"] is None else image["matched_sim"]
    wanted = ("image_name", "raw_url", "matched_text_index", "matched_sim")
    faces = {row["position"]: row.get("faces_boxes") or None for row in images}
    return {
        "url": document["url"],
        "text_list": [t for t in document["texts"] if t is not None],
        "image_info": [{**{k: i[k] for k in wanted}, "face_detections": faces.get(p)} for i, p in info],
        "similarity_matrix": cosines,
        "could_have_url_duplicate": 0,
    }


def _vectors(rows: Sequence[Mapping[str, Any]], column: str) -> dict[int, np.ndarray]:
    """L2-normalized embeddings by position on the page."""
    found = {r["position"]: np.asarray(r[column], np.float32) for r in rows if r.get(column) is not None}
    return {p: v / max(float(np.linalg.norm(v)), 1e-12) for p, v in found.items()}


def _cosines(
    images: list[int], texts: list[int], image_vectors: dict[int, np.ndarray], text_vectors: dict[int, np.ndarray]
) -> list[list[float]]:
    """Cosines, images by texts (by position on the page): 0 for negative ones and where one of the two has no embedding."""

    def cosine(image: int, text: int) -> float:
        if image not in image_vectors or text not in text_vectors:
            return 0.0
        return round(max(0.0, float(image_vectors[image] @ text_vectors[text])), 4)

    return [[cosine(i, t) for t in texts] for i in images]


def openflamingo(document: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """A document as OpenFlamingo's loader reads it from a tar: mmc4's with each image in base64. read: returns a member's bytes by
    its name."""
    made = mmc4(document)
    for info in made["image_info"]:
        info["image_base64"] = base64.b64encode(read(info["image_name"])).decode()
    return made


def markdown(document: dict[str, Any]) -> str:
    """A document as Markdown: headings, lists, code, and images with their captions or alt texts."""
    info = iter(document["image_info"])
    kinds = document.get("kinds") or [None] * len(document["texts"])
    parts = []
    for text, name, kind in zip(document["texts"], document["images"], kinds):
        if text is None:
            image = next(info)
            label = (image.get("figcaption") or image.get("alt") or "").replace("[", "(").replace("]", ")")
            parts.append(f"![{label}](images/{document['uid']}.{name})")
        else:
            parts.append(_block(text, kind or "paragraph"))
    return "\n\n".join(parts) + "\n"


def _block(text: str, kind: str) -> str:
    """A text as a Markdown block of its kind."""
    if kind.startswith("heading"):
        return "#" * int(kind[7:] or 2) + " " + " ".join(text.split())
    if kind == "list":
        return "- " + text.replace("\n", "\n  ")
    if kind == "code":
        fence = "`" * max(3, _longest_backquotes(text) + 1)
        return f"{fence}\n{text}\n{fence}"
    return f"*{text}*" if kind == "caption" and "*" not in text else text


def _longest_backquotes(text: str) -> int:
    """The length of the longest run of backquotes."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
