"""A folder that is served on loopback: ranges, names, and nothing else of the store."""

import http.client
from urllib.parse import urlsplit

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curate.sources.folder_server import served

DATA = bytes(range(256)) * 4


@pytest.fixture
def fs():
    fs = MemoryFileSystem()
    fs.pipe(
        {
            "/served/t.lance/data/a b&c": DATA,
            "/served/t.lance/_versions/1": b"v",
            "/served/secret": b"x",
            "/served/t.lance/none": b"",
        }
    )
    yield fs
    fs.rm("/served", recursive=True)


def asked(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.request(method, path, headers={k: v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_files_and_ranges(fs):
    with served(fs, "/served/t.lance") as address:
        path = urlsplit(address).path + "/folder/data/a%20b%26c"
        assert asked(address, path)[:2] == (200, DATA)
        for span, start, stop in (("10-19", 10, 20), ("1000-", 1000, 1024), ("-5", 1019, 1024), ("1020-9999", 1020, 1024)):
            status, data, headers = asked(address, path, Range=f"bytes={span}")
            assert (status, data) == (206, DATA[start:stop]) and headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
        assert {asked(address, path, Range=f"bytes={span}")[0] for span in ("1024-", "2000-3000", "9-3")} == {416}
        status, data, headers = asked(address, path, "HEAD")
        assert (status, data, headers["Content-Length"]) == (200, b"", "1024")
        assert asked(address, urlsplit(address).path + "/folder/none")[:2] == (200, b"")
        status, listed, _ = asked(address, urlsplit(address).path + "?list-type=2&prefix=folder%2Fdata%2F")
        assert status == 200 and b"<Key>folder/data/a b&amp;c</Key><Size>1024</Size>" in listed and b"_versions" not in listed


def test_nothing_but_the_folder_and_only_with_the_secret(fs):
    with served(fs, "/served/t.lance") as address:
        secret = urlsplit(address).path
        for path in ("/folder/../../secret", "/folder/%2e%2e/secret", "/served/secret", "/folder/data"):
            assert asked(address, secret + path)[0] == 404
        assert asked(address, "/other/folder/_versions/1")[0] == asked(address, "/")[0] == 403
        assert asked(address, secret + "/folder/_versions/1", "PUT")[0] == 501
        fs.rm("/served/t.lance/_versions/1")
        assert asked(address, secret + "/folder/_versions/1")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        asked(address, secret + "/folder/none")


@pytest.mark.parametrize(("error", "status"), [(PermissionError, 403), (TimeoutError, 500)])
def test_errors_of_the_store(fs, monkeypatch, error, status):
    def fails(*_, **__):
        raise error

    with served(fs, "/served/t.lance") as address:
        monkeypatch.setattr(fs, "cat_file", fails)
        assert asked(address, urlsplit(address).path + "/folder/_versions/1")[0] == status
