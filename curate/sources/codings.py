"""Decoders of HTTP transfer and content codings, also for truncated bodies and for bodies stored without the codings in their headers.

All decoders return what can be decoded, and whether that is all. A body that is not in the coding that its headers name, but is text,
is used as it is.
"""

import io
import re
import zlib
from collections.abc import Callable
from functools import partial

import brotli
from fastwarc.stream_io import ZstdReader

#: Largest number of codings of one body; more are an attack on readers.
MOST = 4
#: Bytes decoded at a time, which is about what is lost at a fault.
STEP = 4096
#: Largest number of chunks of one body.
CHUNKS = 200_000
#: Smallest length in bytes of a page without markup.
WORDS = 64

_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CHUNK = re.compile(rb"[ \t]*([0-9a-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n", re.IGNORECASE)
_CHUNK_CUT = re.compile(rb"[ \t]*[0-9a-f]{0,16}[ \t]*(?:;[^\r\n]*)?\r?", re.IGNORECASE)

#: The decoded bytes, and whether they are complete; None: the coding is broken.
Decoded = tuple[bytes, bool | None]


def decode(raw: bytes, codings: list[str], max_bytes: int) -> tuple[bytes, bool] | None:
    """A body decoded from its codings, outermost first, at most `max_bytes` + 1 bytes, and whether it is complete. None if it is neither
    in a known coding nor text."""
    complete, rounds = True, 0
    for coding in codings:
        if coding in ("", "identity", "none"):
            continue
        data, whole = _DECODERS[coding](raw, max_bytes) if coding in _DECODERS else (b"", None)
        if not whole and coding != "chunked" and is_text(raw):
            continue
        if whole is None and not data:
            return None
        rounds += data is not raw
        if rounds > MOST:
            return None
        raw, complete = data, complete and bool(whole)
    return raw, complete


def is_text(raw: bytes) -> bool:
    """Whether bytes can be an undecoded page: markup, or enough text."""
    if raw.startswith(_MARKS):
        return True
    return not _BINARY.search(raw, 0, 1024) and (b"<" in raw or len(raw) >= WORDS)


def chunked(raw: bytes, max_bytes: int) -> Decoded:
    """Decode chunked transfer coding (RFC 9112, 7.1), ignoring extensions and trailers; a body that does not begin with a chunk is
    returned unchanged."""
    out, at = bytearray(), 0
    for _ in range(CHUNKS):
        found = _CHUNK.match(raw, at)
        if found is None:
            break
        size = int(found[1], 16)
        if not size:
            return bytes(out), True
        out += raw[found.end() : found.end() + min(size, max_bytes + 1 - len(out))]
        at = found.end() + size
        if at >= len(raw) or len(out) > max_bytes:
            return bytes(out), False
        at += 2 if raw.startswith(b"\r\n", at) else raw.startswith(b"\n", at)
    if not at and not _CHUNK_CUT.fullmatch(raw):
        return raw, True
    return bytes(out), False


def inflated(raw: bytes, max_bytes: int, wbits: int) -> Decoded:
    """Decompress gzip (with several members), zlib or raw deflate, by `wbits` as in zlib."""
    whole = zlib.decompressobj(wbits)
    try:
        data = whole.decompress(raw, max_bytes + 1)
        if whole.eof and not whole.unused_data:
            return data, True
    except zlib.error:
        pass  # decoded again in steps, up to the fault
    out, at, decoder = bytearray(), 0, zlib.decompressobj(wbits)
    try:
        while len(out) <= max_bytes:
            data = decoder.unconsumed_tail or raw[at : at + STEP]
            at += 0 if decoder.unconsumed_tail else STEP
            if not data:
                return bytes(out), False
            out += decoder.decompress(data, max_bytes + 1 - len(out))
            if decoder.eof:
                at -= len(decoder.unused_data) + max(0, at - len(raw))
                if not raw.startswith(b"\x1f\x8b", at):
                    return bytes(out), True
                decoder = zlib.decompressobj(wbits)
    except zlib.error:
        return bytes(out), None
    return bytes(out), False


def deflated(raw: bytes, max_bytes: int) -> Decoded:
    """Decode `deflate`: zlib's format, or raw deflate, which some servers send and browsers accept."""
    found = inflated(raw, max_bytes, zlib.MAX_WBITS)
    return inflated(raw, max_bytes, -zlib.MAX_WBITS) if found[1] is None and not found[0] else found


def unbrotli(raw: bytes, max_bytes: int) -> Decoded:
    out, at, decoder = bytearray(), 0, brotli.Decompressor()
    try:
        while len(out) <= max_bytes and not decoder.is_finished():
            data = raw[at : at + STEP] if decoder.can_accept_more_data() else b""
            at += len(data)
            piece = decoder.process(data, output_buffer_limit=max_bytes + 1 - len(out))
            out += piece  # the limit is not strict
            if not data and not piece:
                return bytes(out), False
    except brotli.error:
        return bytes(out), None
    return bytes(out[: max_bytes + 1]), decoder.is_finished()


def zstandard(raw: bytes, max_bytes: int) -> Decoded:
    out, reader = bytearray(), ZstdReader(io.BytesIO(raw))
    try:
        while len(out) <= max_bytes and (piece := reader.read(min(STEP // 8, max_bytes + 1 - len(out)))):
            out += piece
    except (OSError, ValueError, EOFError):
        return bytes(out), False if b"\x28\xb5\x2f\xfd".startswith(raw[:4]) else None
    return bytes(out), bool(out)


_DECODERS: dict[str, Callable[[bytes, int], Decoded]] = {
    "chunked": chunked,
    "gzip": partial(inflated, wbits=16 + zlib.MAX_WBITS),
    "x-gzip": partial(inflated, wbits=16 + zlib.MAX_WBITS),
    "deflate": deflated,
    "br": unbrotli,
    "zstd": zstandard,
}
