"""E-mail addresses and phone numbers: what is one, what is none, and shards without them."""

import json

import independent_checker
import pyarrow as pa
import pytest
from artefacts import holding
from documents.page_web import page, picture, sentence, serving, warc

from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.filters import contacts
from curate.filters.caption_contacts import CaptionContacts
from curate.filters.caption_words import CaptionWords
from curate.filters.paragraph_contacts import ParagraphContacts
from curate.filters.redact_contacts import RedactContacts
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs
from curate.sources.web_pages import WebPages
from curate.synth.choose import Mix
from curate.upkeep.check import check

SETTINGS = {"allow_private": ("127.0.0.0/8",), "robots": False}


def seen(text: str) -> tuple[int, int, str]:
    array = pa.array([text], pa.large_string())
    return contacts.emails(array)[0].as_py(), contacts.phones(array)[0].as_py(), contacts.redacted(array)[0].as_py()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mail me at jane.doe+x@example.co.uk now", "mail me at <email> now"),
        ("jane (at) example [dot] org", "<email>"),
        ("josé@exämple.de", "<email>"),
        ("A@B.CO, b.c@d-e.museum", "<email>, <email>"),
        ("+49 30 1234567", "<phone>"),
        ("+1 (212) 555-2368", "<phone>"),
        ("call 555-2368 now", "call <phone> now"),
        ("(212) 555-2368", "<phone>"),
        ("212.555.2368", "<phone>"),
        ("1-800-555-2368", "<phone>"),
        ("01 23 45 67 89", "<phone>"),
        ("020 7946 0958", "<phone>"),
        ("030/1234567", "<phone>"),
        ("Tel.: 0171 1234567", "Tel.: <phone>"),
        ("tel 12 34 56 78", "tel <phone>"),
        ("WhatsApp: 919876543210", "WhatsApp: <phone>"),
        ("0044 20 7946 0958", "<phone>"),
        ("+33612345678", "<phone>"),
        ("+91-98765-43210", "<phone>"),
        ("(030) 12 34 56", "<phone>"),
        ("phone number: 5551234567", "phone number: <phone>"),
        ("电话 010-8888 8888", "电话 <phone>"),
        ("Звоните: тел. 84951234567", "Звоните: тел. <phone>"),
        ("联系电话：13812345678", "联系电话：<phone>"),
        ("電話0312345678", "電話<phone>"),
    ],
)
def test_found(text, redacted):
    assert sum(seen(text)[:2]) >= 1 and seen(text)[2] == redacted


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-02",
        "01-02-2020",
        "12/31/1999",
        "1939-1945",
        "ISBN 978-3-16-148410-0",
        "1920 x 1080",
        "1,234,567 people",
        "hôtel 75001123",
        "$1,299.00",
        "52.5200, 13.4050",
        "100 000 000",
        "Canon EF 70-200mm f/2.8",
        "model 12345678",
        "1:43 scale",
        "10.1000/182",
        "192.168.0.1",
        "IMG_20200102_123456",
        "Nos. 1234-5678",
        "@user",
        "50% off",
        "8 10 12 14 16 18",
        "1990 1995 2000",
        "a@b",
        "Scott 123-456",
        "Call of Duty 4",
        "text 2019",
        "Phone 12 Pro 256",
        "4 5 6 7 8 9 10 11 12",
        "",
        "me @ home. ok",
    ],
)
def test_none(text):
    assert seen(text) == (0, 0, text)


def test_hostile_text_takes_linear_time():
    for text in ("a" * 200_000, "a@" * 100_000, "0 " * 100_000, "a." * 100_000 + "@", "+1" * 100_000):
        seen(text)  # an exponential pattern would not end


def test_counts():
    live = pa.table({"uid": ["a", "b"], "text": pa.array(["x@y.org or +49 30 1234567", None], pa.large_string())})
    for stage in (CaptionContacts(), ParagraphContacts()):
        assert stage.run(live)[stage.name].to_pylist() == [2, 0]
    assert CaptionContacts(max=1).judge(pa.table({"caption_contacts": pa.array([2, 0], pa.int32())})).to_pylist() == [
        "caption_contacts",
        None,
    ]


def test_shards_hold_the_redacted_caption_and_nothing_of_the_raw_one(tmp_path):
    secret = "write to jane.doe@example.org or call +49 30 1234567"
    with serving({f"/{i}.jpg": picture(i, 64) for i in range(4)}) as (address, _):
        rows = [
            f"{address}/{i}.jpg,{c}\n" for i, c in enumerate((secret, "a quiet caption", f"again: {secret}", "another one"))
        ]
        (tmp_path / "pairs.csv").write_text("url,text\n" + "".join(rows))
        steps = [CaptionContacts(), Fetch(**SETTINGS)]
        made = run(
            Recipe(
                UrlPairs(str(tmp_path / "pairs.csv")),
                steps,
                synth=[Mix({"raw": 1.0}), RedactContacts(columns=("text", "chosen_text"))],
                shards=Shards(size=4),
                name="x",
            ),
            str(tmp_path / "run"),
            engine="local",
        )
    assert holding(tmp_path / "run/shards", b"jane.doe", b"1234567") == [] and holding(
        tmp_path / "run/ledger", b"jane.doe"
    )  # text is never overwritten
    assert len(holding(tmp_path / "run/shards", b"write to <email> or call <phone>")) >= 4
    assert (
        "redacted_text" not in made.sql("select * from shards limit 0").columns
        and check(made.store) == []
        and independent_checker.main(str(tmp_path / "run")) == 0
    )
    assert made.sql("select caption_contacts, redacted_text is null from images order by source_row").fetchall() == [
        (2, False),
        (0, True),
        (2, False),
        (0, True),
    ]
    card = (tmp_path / "run/README.md").read_text()
    assert "E-mail addresses and phone numbers: 4 in 2 of 4 captions kept; redacted in the shards." in card


def test_documents_hold_the_redacted_paragraph(tmp_path):
    body = page([], [f"{sentence(1)} Write to jane.doe@example.org.", sentence(2)])
    (tmp_path / "a.warc.gz").write_bytes(warc([("http://site.example/1", body, "2025-03-01T10:00:00Z")]))
    made = run(
        Recipe(
            WebPages(str(tmp_path / "a.warc.gz")),
            [ParagraphContacts(), Fetch(**SETTINGS), RedactContacts(table="texts")],
            shards=Shards(size=4),
            name="x",
        ),
        str(tmp_path / "run"),
        engine="local",
    )
    assert (
        holding(tmp_path / "run/shards", b"jane.doe") == []
        and holding(tmp_path / "run/shards", b"Write to <email>.")
        and check(made.store) == []
    )
    assert made.sql("select sum(paragraph_contacts) from texts").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("score", "synth", "says"),
    [
        ([RedactContacts()], [Mix({"raw": 1.0})], "mix makes chosen_text of text after redact_contacts redacted it"),
        ([], [Mix({"raw": 1.0}), RedactContacts()], "leaves chosen_text as it is"),
    ],
)
def test_text_that_would_get_past_its_redaction_is_refused(tmp_path, score, synth, says):
    (tmp_path / "pairs.csv").write_text(json.dumps("x"))
    (tmp_path / "pairs.csv").write_text("url,text\nhttp://a/1,x\n")
    with pytest.raises(RecipeError, match=says):
        Recipe(UrlPairs(str(tmp_path / "pairs.csv")), [CaptionWords(), Fetch(), *score], synth=synth, name="x").check()
