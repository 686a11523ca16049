"""PDF files: texts and pictures in reading order, pictures as they lie in the file; hostile files cost themselves alone."""

import hashlib
import io

import pytest
from PIL import Image

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources import pdf
from curate.sources.pdfs import Pdfs
from curate.upkeep.check import check

pytest.importorskip("pypdfium2")


def photo(n: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64 + n, 48), (n * 50 % 256, 90, 30)).save(out, "JPEG")
    return out.getvalue()


def made(lines, images=()) -> bytes:
    """A PDF of one page: lines (x, y, size, text), images (x, y, width, height, JPEG)."""
    drawn = [f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, size, text in lines]
    drawn += [f"q {w} 0 0 {h} {x} {y} cm /I{n} Do Q" for n, (x, y, w, h, _) in enumerate(images)]
    content = "\n".join(drawn).encode()
    pictures = []
    for *_, data in images:
        width, height = Image.open(io.BytesIO(data)).size
        head = f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB /BitsPerComponent 8 "
        pictures.append(f"{head}/Filter /DCTDecode /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream")
    named = " ".join(f"/I{n} {6 + n} 0 R" for n in range(len(images)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> /XObject << {named} >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *pictures,
    ]
    out, places = b"%PDF-1.4\n", []
    for n, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (n, each)
    table = b"".join(b"%010d 00000 n \n" % p for p in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
    return out + end % (len(objects) + 1, table, len(objects) + 1, len(out))


LINES = [
    (50, 740, 24, "A study of hounds"),
    (50, 700, 10, "The first paragraph begins here and"),
    (50, 688, 10, "goes on in a second line, with a hy-"),
    (50, 676, 10, "phen at its end."),
    (50, 480, 10, "Figure 1: a hound."),
    (50, 440, 10, "The second paragraph stands below."),
    (350, 700, 10, "The right column has its own text."),
]
IMAGES = [(350, 500, 150, 150, photo(2)), (50, 500, 150, 150, photo(1))]


def test_texts_and_pictures_are_in_reading_order(tmp_path):
    (tmp_path / "a.pdf").write_bytes(made(LINES, IMAGES))
    (tmp_path / "b.pdf").write_bytes(made(LINES)[:300])
    recipe = Recipe(Pdfs(str(tmp_path)), [Fetch()], shards=Shards(size=10), name="x")
    found = run(recipe, str(tmp_path / "run"), engine="local")
    assert check(found.store) == []
    assert found.sql("select count(*) from documents where drop_reason = 'pdf:broken'").fetchall() == [(1,)]
    texts = found.sql("select position, text, kind from texts order by position").fetchall()
    images = found.sql("select position, sha256, text from images where kept order by position").fetchall()
    assert [t for _, t, _ in texts] == [
        "A study of hounds",
        "The first paragraph begins here and goes on in a second line, with a hyphen at its end.",
        "Figure 1: a hound.",
        "The second paragraph stands below.",
        "The right column has its own text.",
    ]
    assert texts[0][2] == "heading" and {k for _, _, k in texts[1:]} == {"paragraph"}
    # The left picture is between its paragraph and its caption, the right one ends its column; JPEG comes out as it went in.
    assert images == [
        (2, hashlib.sha256(photo(1)).hexdigest(), "Figure 1: a hound."),
        (6, hashlib.sha256(photo(2)).hexdigest(), None),
    ]
    (document,) = [d for t in found.tars for d in _documents(t)]
    assert [n is None for n in document["images"]] == [True, True, False, True, True, True, False]


def _documents(tar: str):
    import json
    import tarfile

    with tarfile.open(tar) as t:
        yield from (json.loads(t.extractfile(m).read()) for m in t if m.name.endswith(".json"))


@pytest.mark.parametrize("damage", [b"", b"%PDF-1.7\n", b"no pdf", made(LINES)[40:]])
def test_a_damaged_file_is_a_document_with_a_reason(damage, tmp_path):
    (tmp_path / "x.pdf").write_bytes(damage)
    (part,) = Pdfs(str(tmp_path)).read(str(tmp_path / "x.pdf"), 10)
    assert part["documents"]["drop_reason"].to_pylist() in (["pdf:broken"], [None]) and len(part["images"]) == 0


def test_a_picture_of_too_many_pixels_is_left_out(tmp_path, monkeypatch):
    data = made([], [(50, 500, 150, 150, photo(1))]).replace(b"/Width 65 /Height 48", b"/Width 99999 /Height 99999")
    (tmp_path / "x.pdf").write_bytes(data)
    (part,) = Pdfs(str(tmp_path)).read(str(tmp_path / "x.pdf"), 10)
    assert len(part["images"]) == 0 and pdf.PIXELS < 99999**2
