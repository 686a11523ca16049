"""Reader of PDF files by PDFium: paragraphs and pictures of each page in reading order. It runs in a child (contained.py)."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from curate.sources.contained import Opened

#: Largest bytes and pages of a file, text boxes and pictures of a page, and pixels of a picture; smallest side of a picture.
LARGEST, PAGES, PIECES, PICTURES, PIXELS, LEAST = 256 << 20, 2000, 5000, 200, 64_000_000, 32

#: Times the height of a line: a gap that ends a paragraph, a line that is a heading, a change of size that ends a paragraph.
_GAP, _HEADING, _CHANGE = 0.9, 1.25, 1.2
#: What PDFium has for a hyphen at the end of a line.
_HYPHEN = "\x02"


@dataclass
class Box:
    """A text or a picture on a page, in points from its lower left corner; picture: the number of a picture in the file, else -1."""

    left: float
    bottom: float
    right: float
    top: float
    text: str = ""
    picture: int = -1
    line: float = 0.0  # height of its lines

    def over(self, other: "Box") -> bool:
        """Whether they share some width."""
        return min(self.right, other.right) > max(self.left, other.left)


def pages(files: list[Opened]) -> Iterator[tuple]:
    """(title,), then for each page a list of its items in reading order: (kind, text, picture's number or -1). ValueError if the file is
    not a readable PDF."""
    document = _opened(files[0])
    yield ((document.get_metadata_dict().get("Title") or "").strip()[:1000] or None,)
    number = 0
    for page in _pages(document):
        found = _pictures(page, number)
        number += len(found)
        yield ([_item(b) for b in ordered(paragraphs(_pieces(page)), found)],)


def pictures(files: list[Opened], path: str, column: str, start: int, stop: int, longest: int) -> Iterator[tuple[int, Any]]:
    """(number, bytes) of the pictures of a file in a range: JPEG unchanged, all others as PNG."""
    number = 0
    for page in _pages(_opened(files[0])):
        objects = _images(page)
        for n, image in enumerate(objects, number):
            if start <= n < stop:
                data = _encoded(image)
                yield n, len(data) if data and len(data) > longest else data
        number += len(objects)
        if number >= stop:
            return


def _opened(opened: Opened) -> Any:
    import pypdfium2

    with opened() as f:
        data = f.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"more than {LARGEST >> 20} MB")
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as e:
        raise ValueError(f"no PDF that can be read: {e}") from e


def _pages(document: Any) -> Iterator[Any]:
    import pypdfium2

    for number in range(min(len(document), PAGES)):
        try:
            page = document[number]
        except pypdfium2.PdfiumError:
            continue  # a damaged page; the others are read
        yield page
        page.close()


def _images(page: Any) -> list[Any]:
    """The pictures of a page within the limits of size and number."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    found = []
    for image in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=5):
        width, height = image.get_px_size()
        if min(width, height) >= LEAST and width * height <= PIXELS:
            found.append(image)
        if len(found) == PICTURES:
            break
    return found


def _pictures(page: Any, first: int) -> list[Box]:
    return [Box(*image.get_bounds(), picture=n) for n, image in enumerate(_images(page), first)]


def _pieces(page: Any) -> Iterator[Box]:
    """Pieces of text in the file's order, each of a line."""
    text = page.get_textpage()
    for n in range(min(text.count_rects(), PIECES)):
        left, bottom, right, top = text.get_rect(n)
        words = " ".join(text.get_text_bounded(left, bottom, right, top).split())
        if words:
            yield Box(left, bottom, right, top, words, line=top - bottom)
    text.close()


def _encoded(image: Any) -> bytes | None:
    """A picture's file; None where PDFium cannot decode it."""
    import pypdfium2

    try:
        if image.get_filters() == ["DCTDecode"]:
            return bytes(image.get_data(decode_simple=False))
        out = io.BytesIO()
        image.get_bitmap().to_pil().convert("RGB").save(out, "PNG")
        return out.getvalue()
    except (pypdfium2.PdfiumError, ValueError, OSError):
        return None


# ---- reading order


def paragraphs(boxes: Iterator[Box]) -> list[Box]:
    """Paragraphs: consecutive lines of one letter size with small gaps, joined."""
    found: list[Box] = []
    last: Box | None = None
    for piece in boxes:
        whole = found[-1] if found else None
        if whole is None or last is None or not _continues(last, piece):
            found.append(Box(**vars(piece)))
        else:
            hyphen = (
                whole.text.endswith(("-", _HYPHEN)) and piece.text[:1].islower() and piece.top < last.bottom + last.line / 2
            )
            whole.text = whole.text[:-1] + piece.text if hyphen else f"{whole.text} {piece.text}"
            whole.left, whole.right = min(whole.left, piece.left), max(whole.right, piece.right)
            whole.bottom, whole.top = min(whole.bottom, piece.bottom), max(whole.top, piece.top)
        last = piece
    for whole in found:
        whole.text = whole.text.replace(_HYPHEN, "-")
    return found


def _continues(last: Box, piece: Box) -> bool:
    """Whether a piece continues the paragraph of the last one, on the same line or the next."""
    same_line = min(last.top, piece.top) > max(last.bottom, piece.bottom) and piece.left >= last.right - last.line
    sizes = sorted((last.line, piece.line))
    gap = last.bottom - piece.top
    next_line = -last.line / 2 < gap < _GAP * last.line and last.over(piece) and sizes[1] < _CHANGE * max(sizes[0], 0.1)
    return same_line or next_line


def ordered(texts: list[Box], images: list[Box]) -> list[Box]:
    """Texts in their order, each picture after the last text above it in its column."""
    lines = [t.line for t in texts]
    for text in texts:
        text.line = text.line / median(lines) if lines else 1.0
    found = list(texts)
    for image in sorted(images, key=lambda i: -i.top):
        middle = (image.top + image.bottom) / 2
        above = [n for n, t in enumerate(found) if t.over(image) and (t.top + t.bottom) / 2 > middle]
        column = [n for n, t in enumerate(found) if t.over(image)]
        found.insert(above[-1] + 1 if above else column[0] if column else len(found), image)
    return found


def _item(box: Box) -> tuple[str, str | None, int]:
    if box.picture >= 0:
        return "image", None, box.picture
    return "heading" if box.line > _HEADING and len(box.text) < 200 else "paragraph", box.text, -1
