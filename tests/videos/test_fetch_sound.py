"""Sounds of the web: downloaded with the guards of pictures, measured and stored as files are."""

import hashlib
import io
import json
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from fetch.hostile_web import Web, redirect, reply, then_silence

from curate.cli import main
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.removed import Removed, url_digest
from curate.runner.driver import run
from curate.sources.audio_pairs import AudioPairs
from curate.store.atomic import Store
from curate.store.payload import Parcel
from curate.upkeep.check import check
from curate.videos.fetch_sound import FetchSound

RATE = 8000
LOOPBACK = ("127.0.0.0/8",)


def sound(kind: str, seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.5 * np.sin(np.arange(round(seconds * RATE)) / 3), RATE, format=kind)
    return out.getvalue()


PAGES = {
    "/robots.txt": reply(b"User-agent: *\nDisallow: /private/\n"),
    "/a.flac": reply(sound("FLAC"), headers="Content-Type: text/html\r\n"),
    "/b.mp3": redirect("/moved.mp3"),
    "/moved.mp3": reply(sound("MP3", 0.7)),
    "/page.wav": reply(b"<html>not here</html>", headers="Content-Type: audio/wav\r\n"),
    "/private/x.wav": reply(sound("WAV")),
    "/refused.wav": reply(sound("WAV"), headers="X-Robots-Tag: noai\r\n"),
    "/large.wav": reply(sound("WAV", 9)),
    "/cut.wav": then_silence(reply(sound("WAV"), length=100_000)),
    "/inside.wav": redirect("http://169.254.169.254/latest/meta-data"),
    "/long.ogg": reply(sound("OGG", 3)),
}
REASONS = {
    "a.flac": None,
    "b.mp3": None,
    "page.wav": "broken",
    "private/x.wav": "robots",
    "refused.wav": "opt_out",
    "large.wav": "too_large",
    "cut.wav": "timeout",
    "inside.wav": "private_address",
    "long.ogg": "too_long",
    "none.wav": "http_404",
}


@pytest.fixture
def web():
    with Web(PAGES).serve() as web:
        yield web


def stage(**more) -> FetchSound:
    limits = {"allow_private": LOOPBACK, "max_bytes": 100_000, "timeout": 3, "wait": 1, "retries": 0}
    return FetchSound(fetch=Fetch(**limits, **more), max_seconds=2)


def test_a_list_of_urls_is_downloaded_into_the_shards(web, tmp_path):
    soundfile.write(tmp_path / "here.wav", np.full(RATE, 0.1), RATE)
    rows = [{"url": web.url(f"/{n}"), "caption": f"the sound of {n}"} for n in REASONS]
    rows += [{"url": web.url("/a.flac"), "caption": "the same once more"}, {"url": "here.wav", "caption": "a file"}]
    rows += [
        {"url": "simplecache::http://127.0.0.1/x.wav", "caption": "a chain"},
        {"url": "ftp://a.example/x", "caption": "ftp"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    recipe = Recipe(AudioPairs(f"{tmp_path}/list.parquet"), [stage()], shards=Shards(size=10), name="x")
    made = run(recipe, str(tmp_path / "run"), engine="local")
    assert made.problems == [] and check(made.store) == []
    found = made.sql("select * from documents order by source_row").to_arrow_table().to_pylist()
    reasons = [r["drop_reason"] for r in found]
    assert reasons[: len(REASONS)] == [r and f"fetch_sound:{r}" for r in REASONS.values()]
    assert reasons[len(REASONS) :] == [None, None, "source:refused", "source:refused"]
    assert web.hits["/a.flac"] == 1 and web.hits["/private/x.wav"] == 0
    a, b, again = found[0], found[1], found[len(REASONS)]
    assert (b["final_url"], b["http_status"], b["sound_format"]) == (web.url("/moved.mp3"), 200, "mp3")
    assert again["sound_sha256"] == a["sound_sha256"] == hashlib.sha256(sound("FLAC")).hexdigest()
    with tarfile.open(made.tars[0]) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    for row in (a, again):
        assert files[f"{row['uid']}.flac"] == sound("FLAC") and files[f"{row['uid']}.txt"].decode() in row_texts(rows)
        assert json.loads(files[f"{row['uid']}.json"])["sound_seconds"] == 0.5
    assert run(recipe, str(tmp_path / "run"), engine="local").counters == {} and web.hits["/a.flac"] == 1
    (tmp_path / "gone.txt").write_text(web.url("/b.mp3"))
    assert main(["takedown", str(tmp_path / "run"), "--list", str(tmp_path / "gone.txt")]) == 0
    with tarfile.open(made.tars[0]) as tar:
        assert not [m.name for m in tar if m.name.endswith(".mp3")] and len(tar.getnames()) == 9


def row_texts(rows: list[dict]) -> set[str]:
    return {r["caption"] for r in rows}


def test_loopback_is_not_contacted_unless_it_is_allowed(web, tmp_path):
    pq.write_table(pa.table({"audio": [web.url("/a.flac")], "text": ["a"]}), tmp_path / "l.parquet")
    made = run(Recipe(AudioPairs(f"{tmp_path}/l.parquet"), [FetchSound()], name="x"), str(tmp_path / "run"), engine="local")
    assert made.sql("select drop_reason from documents").fetchall() == [("fetch_sound:private_address",)] and not web.hits


def test_the_match_hook_and_takedowns_hold(web, tmp_path):
    """What was taken down is discarded, by its bytes and by the address that it was found at."""
    names = ("a.flac", "b.mp3", "page.wav")
    live = pa.table({"uid": list("abc"), "audio": [web.url(f"/{n}") for n in names]})
    gone = Removed(urls={url_digest(web.url("/moved.mp3"))}, hashes={hashlib.sha256(sound("FLAC")).hexdigest()})
    found = stage(match=is_page).run(live, Parcel(Store(tmp_path), io.BytesIO(), gone))
    assert found["fetch_sound"].to_pylist() == ["removed", "removed", "matched"]
    assert found["payload_size"].null_count == 3 and found["final_url"].to_pylist()[:2] == [None, None]


def is_page(data: bytes) -> bool:
    return data.startswith(b"<html>")


def test_the_deadline_leaves_what_is_done(web, tmp_path):
    with Web({"/slow.wav": then_silence(), "/a.flac": PAGES["/a.flac"]}).serve() as slow:
        urls = [slow.url("/a.flac"), slow.url("/slow.wav")]
        pq.write_table(pa.table({"audio": urls, "text": ["a", "b"]}), tmp_path / "l.parquet")
        one = FetchSound(fetch=Fetch(allow_private=LOOPBACK, robots=False, wait=60, timeout=60, deadline=2))
        began = time.monotonic()
        made = run(Recipe(AudioPairs(f"{tmp_path}/l.parquet"), [one], name="x"), str(tmp_path / "run"), engine="local")
    assert time.monotonic() - began < 30
    reasons = made.sql("select drop_reason from documents order by audio").fetchall()
    assert reasons == [(None,), ("fetch_sound:timeout",)]
