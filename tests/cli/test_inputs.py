"""Inputs without an option, columns by their usual names, and many small pages as one input."""

import pytest

from curate.cli import main, parse
from curate.cli.sources import source_of
from curate.errors import RecipeError
from curate.source import file_identity
from curate.sources.columns import usual
from curate.sources.web_pages import WebPages


def source(*words: str):
    return source_of(parse(["plan", *words]))


@pytest.mark.parametrize(
    "header, url, text",
    [
        ("url,caption", "url", "caption"),
        ("URL,TEXT,caption", "URL", "TEXT"),
        ("image_url,alt", "image_url", "alt"),
        ("Alt_Text,IMG_URL", "IMG_URL", "Alt_Text"),
    ],
)
def test_columns_are_found_by_their_usual_names(header, url, text, tmp_path):
    (tmp_path / "list.csv").write_text(f"{header}\nhttp://a.example/1.jpg,http://a.example/1.jpg\n")
    found = source("datacomp_none", str(tmp_path / "list.csv"), "-o", "x")
    assert (found.url, found.text) == (url, text)


def test_a_column_that_is_named_is_taken_at_its_word(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("url,caption,note\nhttp://a.example/1.jpg,a dog,x\n")
    assert source("datacomp_none", str(tmp_path / "list.csv"), "--text", "note").text == "note"
    assert main(["plan", "datacomp_none", str(tmp_path / "list.csv"), "--text", "nope"]) == 2
    assert "no column 'nope'" in capsys.readouterr().err
    (tmp_path / "odd.csv").write_text("address,words\nhttp://a.example/1.jpg,a dog\n")
    assert main(["plan", "datacomp_none", str(tmp_path / "odd.csv")]) == 2
    assert "no column 'url'" in (err := capsys.readouterr().err) and "choose one with --url" in err
    assert usual("text", []) == "text"


def test_the_kind_of_an_input_is_told_by_its_name(tmp_path, capsys):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.html").write_text("<p>a</p>")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "0.tar").touch()
    kinds = {
        "l.parquet": "pairs",
        "l.tsv.gz": "pairs",
        "s3://b/*.warc.gz": "pages",
        "t.tar": "pool",
        "u.txt": "page_urls",
        "v.mp4": "videos",
        f"{tmp_path}/pages": "pages",
        f"{tmp_path}/pool": "pool",
    }
    for word, kind in kinds.items():
        args = parse(["plan", "datacomp_none", word, "--part-size", "9"])
        assert getattr(args, kind) == [word], word
    for wrong, says in ((f"{tmp_path}/none.xyz", "is not there"), (f"{tmp_path}/pool/0.tar.x", "is not there")):
        assert main(["plan", "datacomp_none", wrong]) == 2
        assert says in capsys.readouterr().err
    with pytest.raises(RecipeError, match="one of --pairs"):
        source("datacomp_none", "a.parquet", "b.warc")
    with pytest.raises(SystemExit):
        parse(["plan", "datacomp_none", "a.parquet", "--no-such-option", "3"])


def test_html_files_of_a_glob_are_one_input_as_those_of_a_folder_are(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.html").write_text(f"<p>page {n} of some words</p>")
    (tmp_path / "other.htm").write_text("<p>not meant</p>")
    glob, parts = f"{tmp_path}/*.html", lambda s, f: [p for p in s.read(f, 1000)]
    pages = WebPages(glob)
    assert pages.files() == [glob]
    (part,) = parts(pages, glob)
    assert part["documents"]["url"].to_pylist() == [f"file://{tmp_path}/{n}.html" for n in range(5)]
    known = file_identity(glob)
    assert known["files"] == 5 and known["hash"].startswith("folder:")
    assert file_identity(glob, known) == known
    (tmp_path / "3.html").write_text("<p>another</p>")
    assert file_identity(glob)["hash"] != known["hash"]
    assert WebPages(f"{tmp_path}/0.h*").files() == [f"{tmp_path}/0.html"]
