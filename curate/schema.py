"""The schemas of a pool's tables, and the closed lists of fetch and decode outcomes.

Further columns of a source are called `source_<name>`, so that they cannot collide with these.
Strings are `large_string` and bytes `large_binary`: Arrow's 32-bit offsets overflow at 2 GB.
"""

import hashlib
import re

import pyarrow as pa
import pyarrow.compute as pc

STR = pa.large_string()

#: Columns of every table. A row is identified by (part, row); `uid` identifies the sample.
ROW = {
    "uid": STR,  # 32 hex digits, see uid()
    "source_file": STR,  # the input file as the user named it
    "source_row": pa.int64(),  # 0-based row (or sample) in that file
}

#: Table `images`: one row = one image with its text. Columns that a source provides.
IMAGES = {
    **ROW,
    "url": STR,
    "text": STR,  # as found; never overwritten
}

#: The location of a row's bytes: a file, and the slice of it. `payload` is null if there are none.
PAYLOAD = {
    "payload": STR,  # path inside the run's folder, or a full path for a source whose input contains the bytes
    "payload_offset": pa.int64(),
    "payload_size": pa.int64(),
}

#: Columns that describe the kept bytes. A stage that writes a payload may overwrite them.
KEPT = {"mime": STR, "width": pa.int32(), "height": pa.int32(), **PAYLOAD}

#: Columns added by fetching (or, for a source whose input contains the bytes, by inspecting them).
FETCHED = {
    "fetch": STR,  # outcome, one of FETCH
    "http_status": pa.int16(),
    "final_url": STR,
    "fetched_at": pa.timestamp("ms", "UTC"),
    "sha256": STR,  # of the bytes as fetched, before any re-encoding
    "mime": STR,  # by magic bytes, never by header or file name
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "width": pa.int32(),  # of the bytes kept: differs from the original after re-encoding
    "height": pa.int32(),
    **PAYLOAD,
}

#: Further tables of a pool of web pages: documents (one row = one page) and texts (one row = one paragraph).
DOCUMENTS = {**ROW, "url": STR, "title": STR}
TEXTS = {**ROW, "doc_uid": STR, "position": pa.int32(), "text": STR}

TABLES = {"images": IMAGES, "documents": DOCUMENTS, "texts": TEXTS}

#: The closed list of fetch outcomes. The drop reason of a row is `fetch:` + its outcome.
FETCH = {
    "ok": "an image arrived, whole",
    "bad_url": "the URL is null, not a URL, or not http(s)",
    "private_address": "the host resolves to an address that is not public",
    "dns": "the name does not resolve",
    "refused": "the connection was refused",
    "connection": "the connection broke",
    "tls": "the TLS handshake or certificate is wrong",
    "timeout": "not finished in time (connect, first byte, total)",
    "http_401": "unauthorised",
    "http_403": "forbidden",
    "http_404": "not found",
    "http_410": "gone",
    "http_429": "too many requests, still so after the retries",
    "http_4xx": "any other client error",
    "http_5xx": "a server error, still so after the retries",
    "http_other": "any other status",
    "bad_response": "not valid HTTP",
    "too_many_redirects": "a chain or a loop of redirects",
    "bad_redirect": "a redirect to something that is not an http(s) URL",
    "bad_encoding": "a Content-Encoding that was not asked for, or is broken",
    "too_large": "more bytes than allowed",
    "truncated": "fewer bytes than promised, or an image file cut short",
    "empty": "zero bytes",
    "not_an_image": "the magic bytes are not those of an allowed image format",
    "broken_image": "the header cannot be read",
    "too_many_pixels": "more pixels (or frames) than allowed: a decompression bomb",
    "hash_mismatch": "the bytes are not those of the list's own hash",
    "robots": "robots.txt disallows it",
    "opt_out": "the owner opted out (X-Robots-Tag, tdm-reservation)",
    "matched": "the operator's byte hook refused it",
    "removed": "taken down before",
}

#: The closed list of decode outcomes. The drop reason is `decode:` + outcome, or the outcome alone for a decoder that had to be killed.
DECODE = {
    "ok": "decoded",
    "broken": "the decoder refuses it",
    "format": "open_clip's loader opens no GIF and no AVIF: Fetch(reencode=True) writes them anew",
    "decoder_crash": "the decoder crashed its process",
    "decoder_timeout": "the decoder did not come back in time",
    "decoder_memory": "the decoder asked for more memory than allowed",
}

_HEX32 = re.compile(r"[0-9a-f]{32}")


def uid(text: str | None, url: str | None) -> str:
    """The uid of a row: md5 of text + url in 32 hex digits, as cc2dataset and DataComp compute it."""
    return hashlib.md5(((text or "") + (url or "")).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def uids(text: pa.ChunkedArray, url: pa.ChunkedArray) -> pa.Array:
    """The uids of columns of texts and URLs."""
    both = pc.binary_join_element_wise(pc.fill_null(text, ""), pc.fill_null(url, ""), pa.scalar("", STR)).cast(
        pa.large_binary()
    )
    return pa.array([hashlib.md5(v, usedforsecurity=False).hexdigest() for v in both.to_pylist()], STR)


def is_uid(value: str | None) -> bool:
    """Whether a value is a uid: 32 lower-case hex digits."""
    return value is not None and _HEX32.fullmatch(value) is not None


def arrow(columns: dict[str, pa.DataType]) -> pa.Schema:
    """The Arrow schema of a dict of columns."""
    return pa.schema(list(columns.items()))
