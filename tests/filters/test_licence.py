"""Licences as lists, pages and files state them: one spelling, kept or dropped by it, named in the shards."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from curate.filters.licence import Licence
from curate.sources.html.extract import extract
from curate.web.licences import among, licence

SPELLINGS = {
    "https://creativecommons.org/licenses/by-sa/4.0/": "cc-by-sa-4.0",
    "http://creativecommons.org/licenses/by-nc-nd/2.0/de/deed.de": "cc-by-nc-nd-2.0",
    "//creativecommons.org/publicdomain/zero/1.0": "cc0-1.0",
    "https://creativecommons.org/publicdomain/mark/1.0/": "public-domain",
    "CC BY 4.0": "cc-by-4.0",
    "CC-BY-SA-3.0": "cc-by-sa-3.0",
    "cc_by_sa_nc": "cc-by-nc-sa",
    "Creative Commons Attribution-NonCommercial-ShareAlike 2.5 Generic": "cc-by-nc-sa-2.5",
    "CC0": "cc0-1.0",
    "Public domain": "public-domain",
    "© Ann 2020. All rights reserved.": "all-rights-reserved",
    "Apache-2.0": "apache-2.0",
    "ask me": "other",
    " ": None,
    None: None,
}


@pytest.mark.parametrize("stated", SPELLINGS)
def test_one_spelling(stated):
    assert licence(stated) == SPELLINGS[stated]


def test_a_licence_without_a_version_stands_for_all():
    assert among("cc-by-4.0", ("cc-by",)) and among("cc-by", ("CC-BY",)) and not among("cc-by-sa-4.0", ("cc-by",))
    assert not among("cc-by-3.0", ("cc-by-4.0",))


def run(stage: Licence, columns: dict, *files) -> tuple[list, list]:
    live = pa.table({n: pa.array(v, pa.large_string()) for n, v in columns.items()})
    found = stage.run(live, *files)
    return [tuple(r.values()) for r in found.to_pylist()], stage.judge(found).to_pylist()


def test_lists_come_before_pages_and_what_is_not_among_falls():
    columns = {
        "source_license": ["CC BY 2.0", None, None, "CC BY-NC 2.0"],
        "declared_licence": ["CC0", "https://creativecommons.org/licenses/by/4.0/", None, None],
        "source_author": ["Ann", None, None, None],
    }
    found, reasons = run(Licence(among=("cc-by", "cc0")), columns)
    assert found[:2] == [("cc-by-2.0", "source_license", "Ann"), ("cc-by-4.0", "declared_licence", None)]
    assert reasons == [None, None, "licence", "licence"] and run(Licence(unstated=True), columns)[1] == [None] * 4


XMP = b"""<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description cc:attributionName="Ann &amp; Co">
<cc:license rdf:resource="http://creativecommons.org/licenses/by/4.0/"/></rdf:Description></rdf:RDF></x:xmpmeta>"""


def picture(xmp: bytes | None = None, iptc: bytes = b"") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", **({"xmp": xmp} if xmp else {}))
    data = out.getvalue()
    if iptc:
        block = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(iptc).to_bytes(4, "big") + iptc
        data = data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    return data


def test_files_state_their_rights():
    iptc = b"\x1c\x02\x50\x00\x03Bob\x1c\x02\x74\x00\x14All rights reserved."
    files = [picture(XMP), picture(iptc=iptc), picture(), None, b"no picture"]
    found, _ = run(Licence(files=True), {"uid": ["a"] * 5}, files)
    nothing = (None, None, None)
    assert found == [
        ("cc-by-4.0", "file", "Ann & Co"),
        ("all-rights-reserved", "file", "Bob"),
        nothing,
        nothing,
        nothing,
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_states_the_copyright(kind):
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x8298], exif[0x013B] = "CC BY-SA 4.0", "Ann"
    Image.new("RGB", (8, 8)).save(out, kind, exif=exif.tobytes())
    found, _ = run(Licence(files=True), {"uid": ["a"] * 2}, [out.getvalue(), out.getvalue()[:30]])
    assert found == [("cc-by-sa-4.0", "file", "Ann"), (None, None, None)]


LD = """<script type="application/ld+json">{"@graph": [{"@type": "WebPage", "license": "https://e.org/terms"},
{"@type": "ImageObject", "contentUrl": "https://e.org/1.jpg", "license": {"@id": "https://creativecommons.org/licenses/by/4.0/"},
"creator": [{"name": "Ann"}]}]}</script>"""


@pytest.mark.parametrize(
    ("head", "page"),
    [
        (
            '<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">',
            "https://creativecommons.org/licenses/by/4.0/",
        ),
        ('<meta name="dcterms.license" content="CC0">', "CC0"),
        (LD, "https://e.org/terms"),
        ('<script type="application/ld+json">{no json</script>', None),
    ],
)
def test_pages_state_their_licences(head, page):
    body = f"<html><head>{head}</head><body><p>words <img src=/1.jpg><img src=/2.jpg></body>".encode()
    found = extract(body, None, "https://e.org/", [], True)
    first, second = [row[-3:-1] for row in found["images"]]
    assert found["licence"] == page and second == (page, None)
    assert first == (("https://creativecommons.org/licenses/by/4.0/", "Ann") if head == LD else (page, None))
    anchor = b"<p>words <a rel='license noopener' href='//creativecommons.org/licenses/by-sa/3.0/'>CC</a>"
    assert licence(extract(anchor, None, "https://e.org/", [], True)["licence"]) == "cc-by-sa-3.0"
