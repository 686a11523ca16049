"""Lists of strangers, whatever editor saved them."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.sources.lines import bare, lines, unwrapped


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, end):
    written = ["ä", "", "b \u2028 c", "\x0bd\x85", "e"]
    for last in ("", end):
        (tmp_path / "list").write_bytes((end.join(written) + last).encode(encoding))
        assert lines(str(tmp_path / "list")) == written


def test_byte_orders_that_are_not_this_machines(tmp_path):
    for mark, encoding in ((b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"), (b"\0\0\xfe\xff", "utf-32-be")):
        (tmp_path / "list").write_bytes(mark + "ä\nb".encode(encoding))
        assert lines(str(tmp_path / "list")) == ["ä", "b"]


def test_compressed_files_and_names_that_mean_something_elsewhere(tmp_path):
    for name in ("a::b.txt", "[a]*?.txt", "a b#.txt"):
        (tmp_path / name).write_text("x\n")
        assert lines(str(tmp_path / name)) == ["x"]
    assert lines(f"file://{tmp_path}/a b#.txt") == ["x"]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"x\ny"))
    assert lines(str(tmp_path / "a.txt.gz")) == ["x", "y"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a\nb\nc\xe4\n", "list.txt: line 3: not UTF-8; save it as UTF-8"),
        ("a\nb".encode("utf-16-be"), "list.txt: full of NUL"),
        (b"\xff\xfea", "list.txt: line 1: not UTF-16"),
        (None, "list.txt: No such file"),
    ],
)
def test_what_is_no_text(tmp_path, data, says):
    if data is not None:
        (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(RecipeError, match=says):
        lines(str(tmp_path / "list.txt"))
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"x" * 999)[:20])
    with pytest.raises(RecipeError, match=r"cut\.txt\.gz: cannot be read"):
        lines(str(tmp_path / "cut.txt.gz"))


@given(st.text("ab .-/:[]()<>\"',;*\ufeff\u200b\u00a0\t", max_size=12))
def test_what_stands_around_an_entry_is_taken_off_once_and_for_all(entry):
    assert bare(bare(entry)) == bare(entry) and unwrapped(unwrapped(entry)) == unwrapped(entry)
    assert unwrapped(f'\ufeff "{entry}",\u200b') == unwrapped(entry)


def test_brackets_inside_of_a_url_stay():
    for url in ("http://a/b(c)", "http://[::1]/", "http://a/?q[]=1", "http://a/'b'"):
        assert unwrapped(url) == unwrapped(f"<{url}>") == unwrapped(f"“{url}”;") == unwrapped(f"- ({url})") == url
