"""Lists and hosts that change what is behind a URL: hashes that are enforced, changes that are told, domains that are counted and capped."""

import hashlib
import json
import logging

import pytest
from documents.page_web import picture, serving

from curate.balance.caps import Caps
from curate.cli import main
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.url_pairs import UrlPairs

SETTINGS = {"allow_private": ("127.0.0.0/8",), "robots": False, "retries": 0}


@pytest.fixture
def web():
    files = {f"/{i}.jpg": picture(i, 64) for i in range(6)}
    with serving(files) as (address, _):
        yield files, address


def listed(folder, address, lines, columns="url,text"):
    (folder / "pairs.csv").write_text(columns + "\n" + "".join(f"{line}\n" for line in lines))
    return UrlPairs(str(folder / "pairs.csv"))


def start(folder, recipe, **options):
    return run(recipe, str(folder / "run"), engine="local", **options)


def test_a_list_s_hashes_are_enforced(web, tmp_path):
    files, address = web
    sha = [hashlib.sha256(files[f"/{i}.jpg"]).hexdigest() for i in range(3)]
    source = listed(
        tmp_path,
        address,
        [f"{address}/0.jpg,a,{sha[0]}", f"{address}/1.jpg,b,{sha[2]}", f"{address}/2.jpg,c,"],
        "url,text,list_sha256",
    )
    made = start(tmp_path, Recipe(source, [Fetch(**SETTINGS, hash_column="source_list_sha256", require_hash=True)], name="x"))
    assert made.sql("select drop_reason, payload is null from images order by source_row").fetchall() == [
        (None, False),
        *[("fetch:hash_mismatch", True)] * 2,
    ]


def test_a_file_that_changes_between_two_fetches_is_told(web, tmp_path, caplog):
    files, address = web
    whole = files["/1.jpg"]
    files["/1.jpg"] = whole[:-200]  # cut short: fetched again when asked to
    source = listed(tmp_path, address, [f"{address}/{i}.jpg,a{i}" for i in range(3)])
    made = start(tmp_path, Recipe(source, [Fetch(**SETTINGS)], name="x"))
    assert made.recipe["drift"] == [] and made.recipe["rows"]["images"]["fetch:truncated"] == 1
    files["/1.jpg"] = whole
    with caplog.at_level(logging.WARNING):
        made = start(tmp_path, Recipe(source, [Fetch(**SETTINGS)], name="x"), refetch=True)
    ((uid,),) = made.sql("select uid from images where source_row = 1").fetchall()
    assert made.recipe["drift"] == [
        {"uid": uid, "before": hashlib.sha256(whole[:-200]).hexdigest(), "after": hashlib.sha256(whole).hexdigest()}
    ]
    assert "1 files are not those that were fetched before" in caplog.text and uid in caplog.text


def test_a_payload_that_is_lost_and_fetched_again_is_compared_too(web, tmp_path):
    files, address = web
    source = listed(tmp_path, address, [f"{address}/{i}.jpg,a{i}" for i in range(3)])
    start(tmp_path, Recipe(source, [Fetch(**SETTINGS)], name="x"))
    next((tmp_path / "run/work/parts").rglob("*.tar")).write_bytes(b"damaged")
    old, files["/2.jpg"] = files["/2.jpg"], files["/5.jpg"]
    made = start(tmp_path, Recipe(source, [Fetch(**SETTINGS)], name="x"), repair=True)
    assert [(d["before"], d["after"]) for d in made.recipe["drift"]] == [
        tuple(hashlib.sha256(f).hexdigest() for f in (old, files["/2.jpg"]))
    ]


def test_domains_are_counted_in_the_report_and_can_be_capped(web, tmp_path):
    _, address = web
    other = address.replace("127.0.0.1", "localhost")
    source = listed(tmp_path, address, [f"{address}/{i}.jpg,a{i}" for i in range(5)] + [f"{other}/5.jpg,b"])
    made = start(tmp_path, Recipe(source, [Fetch(**SETTINGS)], [Caps(("host(url)",), max=2)], shards=Shards(size=4), name="x"))
    assert made.recipe["rows"]["images"] == {"kept": 3, "caps": 3}
    page = (tmp_path / "run/report.html").read_text()
    row = page[page.index("<td>127.0.0.1</td>") :][:200]
    assert "83.3 %" in row and "66.7 %" in row  # of the rows in, of the rows kept


def test_the_operator_s_hook_from_the_command_line(web, tmp_path):
    """A file that the hook refuses is in no artefact, and the hook is in the record."""
    from artefacts import holding

    files, address = web
    (tmp_path / "hook.py").write_text(
        f"import hashlib\n\n\ndef known(data):\n    return hashlib.md5(data).hexdigest() == {hashlib.md5(files['/3.jpg']).hexdigest()!r}\n"
    )
    listed(tmp_path, address, [f"{address}/{i}.jpg,a picture of some kind {i}" for i in range(6)])
    where = [
        "--pairs",
        str(tmp_path / "pairs.csv"),
        "-o",
        str(tmp_path / "run"),
        "--engine",
        "local",
        "--allow-private",
        "127.0.0.0/8",
    ]
    assert main(["run", "datacomp_none", *where, "--match", f"{tmp_path}/hook.py:known"]) == 0
    data = files["/3.jpg"]
    needles = [data[at : at + 40] for at in range(800, len(data) - 40, 200)] + [
        hashlib.sha256(data).hexdigest().encode(),
        hashlib.md5(data).hexdigest().encode(),
    ]
    assert holding(tmp_path / "run", *needles) == [] and len(needles) > 3
    assert holding(tmp_path / "run", files["/2.jpg"][900:940])
    record = json.loads((tmp_path / "run/recipe.json").read_text())
    assert (
        record["rows"]["images"]["fetch:matched"] == 1
        and next(s for s in record["steps"] if s["class"] == "Fetch")["match"] == f"{tmp_path}/hook.py:known"
    )


@pytest.mark.parametrize(
    ("match", "says"),
    [("nowhere:f", "cannot be loaded"), ("json:none", "has no function none"), ("justaname", "write module:function")],
)
def test_a_hook_that_is_not_there_is_said_before_anything_is_fetched(match, says, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("url,text\nhttp://a/1,x\n")
    assert (
        main(["run", "datacomp_none", "--pairs", str(tmp_path / "pairs.csv"), "-o", str(tmp_path / "run"), "--match", match])
        == 2
    )
    assert says in capsys.readouterr().err
