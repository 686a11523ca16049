"""Checks that the documents of a shard are complete and agree with the ledger."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa

from curate import schema
from curate.documents.document import document_fault, transcript
from curate.fetch.image import SUFFIX
from curate.selector import identifier
from curate.sources.tarindex import Sample

#: One row for each item of a document: a text, or an image by its hash.
CONTENTS = pa.schema([("doc_uid", schema.STR), ("position", pa.int64()), ("text", schema.STR), ("sha256", schema.STR)])
_MIME = {suffix: mime for mime, suffix in SUFFIX.items()}


def document_faults(
    sample: Sample,
    read: Callable[[str], bytes],
    row: dict[str, Any],
    hashed: str | None,
    is_image: Callable[[bytes, str], bool],
) -> Iterator[str]:
    """Faults of a sample compared with its row: members, `.json`, order, and the bytes of each image.

    read: returns a member by its suffix; hashed: the column with the SHA-256 of the kept bytes, or None; is_image: whether bytes are
    of a MIME type.
    """
    document = json_object(read("json")) if "json" in sample.members else None
    if document is None:
        yield ".json: missing, or not JSON"
        return
    fault = document_fault(document)
    names = [n for n in document.get("images") or () if n is not None]
    clip = {"txt"} if row.get("video") or row.get("audio") else set()
    sound = row.get("sound_format") or "wav" if row.get("sound_sha256") else ""
    if fault is None and set(sample.members) != {"json", *names, *clip, *filter(None, [sound])}:
        fault = f"has the members {', '.join(sorted(sample.members))}, its .json names {', '.join(names) or 'none'}"
    if fault is None and document.get("uid") != row["uid"]:
        fault = f"is document {document.get('uid')}, should be {row['uid']}"
    if fault:
        yield f": {fault}"
        return
    if clip and read("txt") != transcript(t for t in document["texts"] if t is not None):
        yield ".txt: is not the speech of its .json"
    if sound and hashlib.sha256(read(sound)).hexdigest() != row["sound_sha256"]:
        yield f".{sound}: is not the sound of its row (SHA-256)"
    for info in document["image_info"]:
        data, name = read(info["image_name"]), info["image_name"]
        if not is_image(data, _MIME.get(name.split(".")[-1], "")):
            yield f".{name}: is not of the format that its name states"
        elif hashed and hashlib.sha256(data).hexdigest() != info.get(hashed):
            yield f".{name}: is not the image of its .json (SHA-256)"


def json_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in these bytes, or None."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def document_contents(document: dict[str, Any]) -> Iterator[tuple[str, int, str | None, str | None]]:
    """The items of a document in order, as rows of CONTENTS."""
    info = iter(document["image_info"])
    for position, text in zip(document["positions"], document["texts"]):
        yield document["uid"], position, text, None if text is not None else next(info).get("sha256")


def content_faults(con: duckdb.DuckDBPyConnection, shard: int, found: list[tuple], redacted: str = "") -> Iterator[str]:
    """Items of a shard's documents that the ledger does not have there, and the reverse.

    found: rows of CONTENTS. redacted: the column of `texts` that shards hold in place of the text where it is not null.
    """
    con.register("_found", pa.Table.from_pylist([dict(zip(CONTENTS.names, row)) for row in found], CONTENTS))
    text = f"coalesce({identifier(redacted)}, text) as text" if redacted else "text"
    # Of a document with copies the ledger names the shard of the first.
    copied = " or doc_uid in (select doc_uid from _found)" if "copies" in con.table("documents").columns else ""
    here = f"kept and (shard = {shard}{copied})"
    ledger = f"""select doc_uid, position::bigint as position, {text}, null::varchar as sha256 from texts where {here}
        union all select doc_uid, position::bigint, null, sha256 from images where {here}"""
    for left, right, message in (
        ("from _found", f"from ({ledger})", "items of documents are not kept rows of the ledger"),
        (f"from ({ledger})", "from _found", "kept texts and images are not in their document"),
    ):
        query = f"select doc_uid, position, text, sha256 {left} except select doc_uid, position, text, sha256 {right}"
        count, first = con.sql(f"select count(*), min(doc_uid) from ({query})").fetchall()[0]
        if count:
            yield f"{count} {message} (first: {first})"
    con.unregister("_found")
