"""Source WebPages: WARC files (Common Crawl's, wget's, any compression FastWARC reads), folders of HTML, single files.

One page gives one row of `documents`, its paragraphs rows of `texts` and its images rows of `images`, with `position` as the
page order over both. Items that are not content are rows too, with a reason: `boilerplate:nav`, `boilerplate:footer`,
`image:inline`, `page:not_html` ... The `boilerplate:` reasons are in html/boilerplate.py, the others at WebPages.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import quote

import fsspec
import pyarrow as pa

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.paths import filesystem
from curate.schema import STR
from curate.source import Source, expand, members, root_of
from curate.sources import archives, warc
from curate.sources.html.contained import Parser
from curate.sources.html.extract import IMAGE, TEXT
from curate.sources.warc import Answer
from curate.web.url import site

_DOCUMENT = {
    **schema.DOCUMENTS,
    "lang": STR,  # as the page declares it
    "charset": STR,  # as it was read
    "http_status": pa.int16(),
    "captured_at": pa.timestamp("ms", "UTC"),
    "source_offset": pa.int64(),  # of the WARC record
    "truncated": STR,  # why the page is not whole: length, time, disconnect … as WARC-Truncated says, or body: it ends too early
    "html_bytes": pa.int64(),
    "declared_licence": STR,  # as the page states it for itself: rel=license, a meta element, JSON-LD
}
_TEXT = {
    **schema.TEXTS,
    "domain": STR,  # of the page, without www: paragraphs are compared within a site
    "kind": STR,  # paragraph, heading, list, table, code, caption
    "level": pa.int8(),  # of a heading
    "lang": STR,  # as the nearest lang attribute declares it, which often is wrong
    "dom_path": STR,
    "link_share": pa.float32(),  # of the characters, those inside links
}
_IMAGE = {
    **schema.IMAGES,  # url absolute; text: the caption, else alt, else title
    "doc_uid": STR,
    "position": pa.int32(),
    "alt": STR,
    "title": STR,
    "figcaption": STR,
    "declared_width": pa.int32(),  # pixels in the markup
    "declared_height": pa.int32(),
    "origin": STR,  # img, picture, noscript, background, video, object, og
    "link": STR,  # where a link around it leads
    "candidates": pa.large_list(STR),  # every URL it could have, best first
    "lang": STR,
    "dom_path": STR,
    "declared_licence": STR,  # as JSON-LD states it for the picture, else that of the page
    "declared_attribution": STR,
}
_COLUMNS = {"documents": _DOCUMENT, "texts": _TEXT, "images": _IMAGE}
_PATHS = re.compile(r"\.paths(?:\.gz)?$")
_HTML = re.compile(r"\.[xs]?html?(?:\.[a-z-]{2,12})?$", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass
class WebPages(Source):
    """Pages of WARC files, HTML files, and folders of both. The type of a file is determined by its first bytes, not by its name.

    A list of WARC files as Common Crawl publishes it, `.../crawl-data/CC-MAIN-.../warc.paths.gz`, stands for the files it
    names, relative to the folder of `crawl-data` (a copy's root, `s3://commoncrawl`, `https://data.commoncrawl.org`).
    A folder's HTML files, or those of a glob, are read together, into parts of the wanted size.
    `base_url` is the original address of a folder's files (or a single file): without it they, and their images, have file://
    addresses. `max_bytes` is the largest page read (Common Crawl truncates pages at 1 MiB, since 2025 at 5 MiB);
    `seconds` of CPU time and `memory` in bytes are the limits for one page; `honor_opt_out` drops pages and images that forbid their use.

    Of a truncated page the existing part is used, and `truncated` has the cause. Reasons of pages without content, `page:` and: `no_url`
    (the record names no http(s) address), `bad_record` (of the WARC file: damaged), `bad_status` (not 200), `not_html` (neither by
    the declared type nor by the first bytes), `empty`, `too_large` (before or after undoing the encoding, or its rows), `bad_encoding` (a
    content coding that is unknown or broken, or a charset that no browser reads), `too_many_nodes`, `parser_timeout`, `parser_memory`, `parser_crash`, `opt_out`
    (robots noai, tdm-reservation). Reasons of images that are not fetched, `image:` and: `inline` (a data URI, or only a placeholder),
    `no_url`, `tracker` (declared as one pixel), `symbol` (a formula or emoji that is in the text by its alt), `opt_out` (the page's robots noimageai, noimageindex).
    """

    tables: ClassVar[tuple[str, ...]] = ("documents", "texts", "images")
    version: ClassVar[int] = 6

    paths: str | list[str]
    base_url: str | None = None
    max_bytes: int = 10 << 20
    seconds: float = 10.0
    memory: int = 2 << 30
    honor_opt_out: bool = True

    def files(self) -> list[str]:
        paths = [name for path in ([self.paths] if isinstance(self.paths, str) else self.paths) for name in named(path)]
        folders = {p: folder_inputs(p) for p in paths if _folder(p)}
        rest = [p for p in paths if p not in folders]
        return sorted({*chain(*folders.values()), *chain(*map(together, rest))})

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        return _COLUMNS[table]

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        return self.parts(file, self.answers(file), part_size)

    def parts(self, file: str, answers: Iterator[Answer], part_size: int) -> Iterator[dict[str, pa.Table]]:
        """Parse pages and yield their rows as parts."""
        rows = Rows(file, self.adds("documents"))
        try:
            with Parser(self.seconds, self.memory) as parser:
                for page in answers:
                    self.take(page, parser, rows)
                    if rows.full(part_size):
                        yield rows.tables()
                        rows = Rows(file, self.adds("documents"))
        except PoolError:
            if rows.documents:
                yield rows.tables()  # pages before the fault are kept
            raise
        if rows.documents:
            yield rows.tables()

    def take(self, page: Answer, parser: Parser, rows: "Rows") -> None:
        """Parse a page and add its rows."""
        found = {"outcome": page.outcome}
        if page.outcome is None:
            found = parser(page.body, page.charset, page.url, list(page.robots), self.honor_opt_out)
        rows.add(page, found)

    def answers(self, file: str) -> Iterator[Answer]:
        """The pages of one input file or folder, before parsing."""
        fs, inner = filesystem(file)
        if (below := members(fs, inner)) is not None:
            names, root = sorted(n for n in below if is_page(fs, n)), root_of(fs, inner)
        else:
            names, root = [inner], inner.rsplit("/", 1)[0] + "/"
            head = first_bytes(fs, inner)
            if why := archives.refused(head):
                raise PoolError(f"{file}: {why}")
            if archives.is_warc(head) or archives.warc_name(inner):
                yield from warc.read(file, self.max_bytes)
                return
        base = self.base_url.rstrip("/") + "/" if self.base_url else _file_url(fs, root)
        for row, name in enumerate(names):
            yield self.local(fs, name, row, base + quoted(name.removeprefix(root)))

    def local(self, fs: fsspec.AbstractFileSystem, name: str, row: int, url: str) -> Answer:
        try:
            with fs.open(name, "rb") as f:
                body = f.read(self.max_bytes + 1)
        except OSError as e:
            raise PoolError(f"{name}: cannot be read: {e.strerror or e}") from e
        outcome = warc.judged(body, "text/html" if _HTML.search(name) else "", self.max_bytes)
        return Answer(row, url, b"" if outcome else body, outcome=outcome)


class Rows:
    """Collects the rows of a part: tuples as the parser returns them, and the page of each."""

    def __init__(self, file: str, columns: dict[str, pa.DataType]):
        self.file, self.columns = file, columns
        self.documents: list[dict] = []
        self.children: dict[str, tuple[list[tuple], list[int]]] = {"texts": ([], []), "images": ([], [])}

    def full(self, part_size: int) -> bool:
        """Whether it has about `part_size` images or pages, or four times as many paragraphs; pages are not divided."""
        texts, images = (len(self.children[t][0]) for t in ("texts", "images"))
        return max(images, len(self.documents)) >= part_size or texts >= 4 * part_size

    def add(self, page: Answer, found: dict) -> None:
        for table, (rows, owners) in self.children.items():
            rows += found.get(table, ())
            owners += [len(self.documents)] * (len(rows) - len(owners))
        self.documents.append(
            {
                "uid": schema.uid("", page.url),
                "source_file": self.file,
                "source_row": page.row,
                "url": page.url,
                "title": found.get("title"),
                "lang": found.get("lang"),
                "charset": found.get("charset"),
                "http_status": page.status,
                "captured_at": page.captured_at,
                "fetched_at": page.fetched_at,
                "source_offset": page.offset,
                "truncated": page.truncated,
                "html_bytes": len(page.body) or None,
                "declared_licence": found.get("licence"),
                "drop_reason": f"page:{found['outcome']}" if found["outcome"] else None,
            }
        )

    def tables(self) -> dict[str, pa.Table]:
        documents = pa.Table.from_pylist(self.documents, schema.arrow({**self.columns, "drop_reason": STR}))
        return {"documents": documents, "texts": self.table("texts", TEXT), "images": self.table("images", IMAGE)}

    def table(self, name: str, fields: tuple[str, ...]) -> pa.Table:
        rows, owners = self.children[name]
        values = dict(zip(fields, zip(*rows))) if rows else dict.fromkeys(fields, ())
        pages = [self.documents[o] for o in owners]
        values["doc_uid"] = [p["uid"] for p in pages]
        if name == "texts":
            domains = [site(d["url"]) or "" for d in self.documents]
            values["domain"] = [domains[o] for o in owners]
        values["uid"] = [schema.uid(d, str(at)) for d, at in zip(values["doc_uid"], values["position"])]
        values["source_row"] = [p["source_row"] for p in pages]
        values["source_file"] = [self.file] * len(rows)
        return pa.table({n: pa.array(values[n], t) for n, t in {**_COLUMNS[name], "drop_reason": STR}.items()})


def named(path: str) -> list[str]:
    """The files named by a list of paths; any other path unchanged. PoolError if the list cannot be read."""
    if not _PATHS.search(path):
        return [path]
    root = path.split("crawl-data/", 1)[0] if "crawl-data/" in path else path.rsplit("/", 1)[0] + "/" if "/" in path else ""
    try:
        fs, inner = filesystem(path)
        file: Any = fs.open(inner, "rt", compression="infer", encoding="utf-8-sig")
        with file:
            return [root + line.strip() for line in file if line.strip()]
    except (OSError, EOFError, ValueError) as e:
        raise PoolError(f"{path}: not a list of WARC files: {e}") from e


def together(path: str) -> list[str]:
    """The inputs of a path: a glob of HTML files is one input, so that a part has many of them; each WARC file is one."""
    found = expand(path)
    fs, inner = filesystem(path)
    return [path] if len(found) > 1 and members(fs, inner) and all(_HTML.search(n) for n in found) else found


def folder_inputs(folder: str) -> list[str]:
    """The inputs of a folder: the folder itself, if it contains HTML files, and each WARC file. RecipeError if there is neither."""
    fs, inner = filesystem(folder)
    names = fs.find(inner)
    refused = {n: why for n in names if (why := archives.refused_name(n))}
    warcs = [n for n in names if n not in refused and is_warc(fs, n)]
    found = [fs.unstrip_protocol(n) if "://" in folder else n for n in warcs]
    if any(is_page(fs, n) for n in names if n not in refused and n not in warcs):
        found.insert(0, folder)
    if not found and refused:
        name, why = next(iter(refused.items()))
        raise RecipeError(f"{name}: {why}")
    if not found:
        raise RecipeError(f"{folder}: no page is below it, neither HTML (.html, .htm, .xhtml) nor WARC files (.warc, .warc.gz)")
    for name, why in refused.items():
        log.warning("%s: is skipped: it %s", name, why)
    return found


def is_warc(fs: fsspec.AbstractFileSystem, name: str) -> bool:
    """Whether a file is a WARC file, by its name or, if that is not conclusive, by its first bytes."""
    return archives.warc_name(name) or (not telling(name) and archives.is_warc(first_bytes(fs, name)))


def is_page(fs: fsspec.AbstractFileSystem, name: str) -> bool:
    """Whether a file is HTML, by its name or, if that is not conclusive, by its first bytes."""
    if archives.warc_name(name) or archives.refused_name(name):
        return False
    return _HTML.search(name) is not None or (not telling(name) and warc.is_html(first_bytes(fs, name)))


def telling(name: str) -> bool:
    return _HTML.search(name) is not None or archives.telling_name(name)


def first_bytes(fs: fsspec.AbstractFileSystem, name: str) -> bytes:
    """The first bytes of a file. PoolError if it cannot be read."""
    try:
        file: Any = fs.open(name, "rb")
        with file:
            return file.read(archives.HEAD)
    except OSError as e:
        raise PoolError(f"{name}: cannot be read: {e.strerror or e}") from e


def quoted(name: str) -> str:
    """A path percent-encoded for a URL, by its bytes if it is not UTF-8."""
    return quote(os.fsencode(name))


def _folder(path: str) -> bool:
    fs, inner = filesystem(path)
    return fs.isdir(inner)


def _file_url(fs: fsspec.AbstractFileSystem, root: str) -> str:
    return "file://" + quoted(root) if "file" in fs.protocol else fs.unstrip_protocol(root)
