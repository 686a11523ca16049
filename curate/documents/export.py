"""Documents in the forms that public readers take: OBELICS and MINT-1T, mmc4, OpenFlamingo's training loader, Markdown.

Each takes a document's JSON (document.py) and keeps the order: the k-th placeholder is the k-th image.
"""

import base64
import json
from collections.abc import Callable
from typing import Any


def obelics(document: dict[str, Any]) -> dict[str, Any]:
    """OBELICS' row: parallel lists with URLs as images; `metadata` and `general_metadata` are JSON strings, as published."""
    info = iter(document["image_info"])
    described = [None if name is None else next(info) for name in document["images"]]
    fields = ("original_width", "original_height")
    metadata = [
        i
        and {
            "document_url": document["url"],
            "src": i["raw_url"],
            "unformatted_src": i["raw_url"],
            "alt_text": i.get("alt"),
            **{k: i.get(k) for k in fields},
            "format": i["image_name"].rsplit(".", 1)[-1],
        }
        for i in described
    ]
    return {
        "texts": document["texts"],
        "images": [i and i["raw_url"] for i in described],
        "metadata": json.dumps(metadata),
        "general_metadata": json.dumps({"url": document["url"], "uid": document["uid"]}),
    }


def mint(document: dict[str, Any]) -> dict[str, Any]:
    """MINT-1T's HTML row: parallel lists with URLs as images, and the page's URL."""
    row = obelics(document)
    return {"texts": row["texts"], "images": row["images"], "url": document["url"], "uid": document["uid"]}


def mmc4(document: dict[str, Any]) -> dict[str, Any]:
    """mmc4's document: `text_list`, `image_info` and a similarity matrix with the matches (0 elsewhere).

    Images are in the order of their texts, and that is their order in the matrix: readers that set placeholders by text and
    tensors by image (OpenFlamingo's) then meet the right ones. Without a similarity an image has 1 at its text.
    """
    texts = [t for t in document["texts"] if t is not None]
    info = [i for i in document["image_info"] if i["matched_text_index"] is not None]
    info = sorted(info, key=lambda i: i["matched_text_index"])
    matrix = [[0.0] * len(texts) for _ in info]
    for row, image in zip(matrix, info):
        row[image["matched_text_index"]] = 1.0 if image["matched_sim"] is None else image["matched_sim"]
    wanted = ("image_name", "raw_url", "matched_text_index", "matched_sim")
    return {
        "url": document["url"],
        "text_list": texts,
        "image_info": [{k: i[k] for k in wanted} for i in info],
        "similarity_matrix": matrix,
        "could_have_url_duplicate": 0,
    }


def openflamingo(document: dict[str, Any], read: Callable[[str], bytes]) -> dict[str, Any]:
    """What OpenFlamingo's loader takes out of a tar: mmc4's document with each image in base64. `read` gives a member's bytes
    by its name."""
    made = mmc4(document)
    for info in made["image_info"]:
        info["image_base64"] = base64.b64encode(read(info["image_name"])).decode()
    return made


def sequence(document: dict[str, Any], image: str = "<image>", end: str = "") -> str:
    """One string for a language model: texts by line, a placeholder for each image, `end` before each image and at the end
    (Flamingo's `<|endofchunk|>`)."""
    parts = [f"{end}{image}" if t is None else t for t in document["texts"]]
    return "\n".join(parts) + end


def markdown(document: dict[str, Any]) -> str:
    """For people: headings, lists, code and images with their captions or alt texts."""
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
    if kind.startswith("heading"):
        return "#" * int(kind[7:] or 2) + " " + " ".join(text.split())
    if kind == "list":
        return "- " + text.replace("\n", "\n  ")
    if kind == "code":
        fence = "`" * max(3, _longest(text) + 1)
        return f"{fence}\n{text}\n{fence}"
    return f"*{text}*" if kind == "caption" and "*" not in text else text


def _longest(text: str) -> int:
    """The longest run of backquotes."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
