"""Source Pdfs: PDF files. Each file is one document with its paragraphs and pictures in reading order, page by page."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.fetch.unpack import Unpack
from curate.paths import filesystem
from curate.schema import STR
from curate.source import Source, expand
from curate.sources import contained
from curate.stage import Step

_CHILD = {"page": pa.int32(), "drop_reason": STR}
_COLUMNS = {
    "documents": {**schema.DOCUMENTS, "pages": pa.int32(), "drop_reason": STR},
    "texts": {**schema.TEXTS, "kind": STR, "level": pa.int8(), **_CHILD},
    "images": {**schema.IMAGES, "doc_uid": STR, "position": pa.int32(), "picture": pa.int32(), **_CHILD},
}


@dataclass
class Pdfs(Source):
    """PDF files, folders of them at any depth, any fsspec path; read by PDFium in a child, so that a malformed file affects only itself.

    A picture's `text` is the paragraph after it if that looks like a caption (`Figure 3: …`), else null; its bytes are extracted by the
    step `unpack`, which comes first: JPEG unchanged, all others as PNG. Pictures with a side under 32 pixels are left out.
    A file that cannot be read (damaged, encrypted, more than 256 MB) is a document with the reason `pdf:broken`.
    """

    tables: ClassVar[tuple[str, ...]] = ("documents", "texts", "images")
    version: ClassVar[int] = 1

    paths: str | list[str]

    def files(self) -> list[str]:
        if importlib.util.find_spec("pypdfium2") is None:
            raise RecipeError("PDF files need the package pypdfium2: pip install 'curate-multimodal[pdf]'")
        return expand([f for p in ([self.paths] if isinstance(self.paths, str) else self.paths) for f in _below(p)])

    def steps(self) -> list[Step]:
        return [Unpack(reader="curate.sources.pdf:pictures", key="picture")]

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        return {n: kind for n, kind in _COLUMNS[table].items() if n != "drop_reason"}

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        found = _Document(file)
        try:
            stream = contained.read("curate.sources.pdf:pages", [file])
            (found.title,) = next(stream)
            for (items,) in stream:
                found.add(items)
        except (OSError, ValueError) as e:
            contained.log.warning("%s: %s", file, e)
            found.reason = "pdf:broken"
        yield found.tables()


class _Document:
    """Collects the rows of one file."""

    def __init__(self, file: str):
        self.file, self.title, self.reason, self.pages, self.position = file, None, None, 0, 0
        self.url = file if "://" in file else f"file://{quote(file)}"
        self.uid = schema.uid("", self.url)
        self.rows: dict[str, list[dict[str, Any]]] = {"texts": [], "images": []}

    def add(self, items: list[tuple[str, str | None, int]]) -> None:
        """Add the items of a page."""
        self.pages += 1
        for n, (kind, text, picture) in enumerate(items):
            row = {
                "uid": schema.uid(self.uid, str(self.position)),
                "source_file": self.file,
                "source_row": 0,
                "doc_uid": self.uid,
                "position": self.position,
                "page": self.pages,
            }
            self.position += 1
            if kind == "image":
                behind = next((t for k, t, _ in items[n + 1 : n + 2] if k != "image"), None)
                caption = behind if (behind or "").lower().startswith(("fig", "table", "abb")) else None
                url = f"{self.url}#page={self.pages}&picture={picture}"
                self.rows["images"].append({**row, "url": url, "text": caption, "picture": picture})
            else:
                self.rows["texts"].append({**row, "text": text, "kind": kind})

    def tables(self) -> dict[str, pa.Table]:
        head = {"uid": self.uid, "source_file": self.file, "source_row": 0, "url": self.url, "title": self.title}
        rows = {"documents": [{**head, "pages": self.pages, "drop_reason": self.reason}], **self.rows}
        if self.reason:
            rows |= {"texts": [], "images": []}
        return {n: pa.Table.from_pylist(rows[n], schema.arrow(columns)) for n, columns in _COLUMNS.items()}


def _below(path: str) -> list[str]:
    """The PDF files in a folder; any other path is itself."""
    fs, inner = filesystem(path)
    if not fs.isdir(inner):
        return [path]
    found = sorted(n for n in fs.find(inner) if n.lower().endswith(".pdf"))
    if not found:
        raise RecipeError(f"{path}: no PDF file is below it")
    return [fs.unstrip_protocol(n) if "://" in path else n for n in found]
