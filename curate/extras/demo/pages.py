"""Generator of the demo's web pages: real manuals of Debian packages in a WARC file, their images served on loopback.

FOLDER/pages.warc.gz         the pages; one in twenty is captured twice
FOLDER/site/<host>/...       their images, which the server serves; one in fifty is missing
FOLDER/faults.json, web.json as in curate.extras.demo.web
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from curate.extras.demo.web import DemoWeb, free_port
from curate.models.packages import fetch
from curate.schema import uid
from curate.selector import coin

#: Package -> its host, and the folders of its pages (of the handbook one for each language).
MANUALS = {
    "wireshark": ("127.0.0.2", ("usr/share/doc/wireshark",)),
    "handbook": (
        "127.0.0.3",
        tuple(f"usr/share/doc/debian-handbook/html/{lang}" for lang in ("en-US", "de-DE", "fr-FR", "zh-CN")),
    ),
}
PORT = 18480
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
#: Share of the pages that are captured twice, and of the images that are missing.
CAPTURED_TWICE, MISSING = 0.05, 0.02


def build(folder: Path, seed: int = 0, say: Callable[[str], None] = print) -> DemoWeb:
    """Build the pages in a folder, unless they exist. Packages that are not available are in `left_out`."""
    web = DemoWeb(folder)
    if (folder / "web.json").exists() and not web.left_out:
        say(f"the pages in {folder} are already there")
        return web
    fetched = fetch(MANUALS, say)
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    (work / "site").mkdir(parents=True)
    port = free_port(PORT)
    pages = 0
    with open(work / "pages.warc.gz", "wb") as out:
        for name, home in fetched.folders.items():
            host, roots = MANUALS[name]
            for file in files(home, roots):
                path = file.relative_to(home).as_posix()
                if file.suffix == ".html":
                    url = f"http://{host}:{port}/{quote(path)}"
                    out.write(
                        b"".join(
                            record(url, file.read_bytes(), day)
                            for day in ((1, 2) if chosen(url, seed, CAPTURED_TWICE) else (1,))
                        )
                    )
                    pages += 1
                elif file.suffix.lower() in IMAGES and not chosen(path, seed, MISSING):
                    target = work / "site" / host / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
    (work / "faults.json").write_text("{}")
    (work / "web.json").write_text(
        json.dumps(
            {
                "hosts": [h for h, _ in MANUALS.values()],
                "port": port,
                "pages": pages,
                "seed": seed,
                "packages": fetched.records(),
                "left_out": fetched.left_out,
            },
            indent=1,
        )
    )
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
    say(f"packed {pages:,} pages into {folder / 'pages.warc.gz'}")
    return web


def files(home: Path, roots: tuple[str, ...]) -> Iterator[Path]:
    """The files below the roots of a package, in order."""
    for root in roots:
        yield from sorted(p for p in (home / root).rglob("*") if p.is_file() and not p.is_symlink())


def chosen(name: str, seed: int, share: float) -> bool:
    """Whether a name is in a seeded random sample of this share."""
    return bool(coin([name], seed, "pages")[0] < share)


def record(url: str, body: bytes, day: int) -> bytes:
    """A WARC response record, compressed separately as in Common Crawl."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2025-03-{day:02d}T10:00:00Z\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Record-ID: <urn:uuid:{uid(str(day), url)}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    ).encode()
    return gzip.compress(head + http + b"\r\n\r\n", 6, mtime=0)
