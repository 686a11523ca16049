"""Runs over pages: growth from 10^3 to 10^5, requests that the order saves, tars beside base64, recall of the language rule.

    python -m benchmarks.documents growth [PAGES ...]    pages/s, memory, disk; no network
    python -m benchmarks.documents real                  the demo's manuals: requests, tars, languages

Growth repeats the demo's real pages under changed URLs, so that nothing is a duplicate URL; the images are those of the pages, and are
not fetched (the recipe ends with the rules before the fetch). Each size runs in a process of its own.
"""

import base64
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from fastwarc.warc import ArchiveIterator

from curate.extras.demo.pages import build
from curate.fetch.shared import SharedUrl
from curate.filters import paragraph_ratios
from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_words import DocumentWords
from curate.filters.image_url_words import ImageUrlWords
from curate.filters.paragraph_language import ParagraphLanguage
from curate.filters.paragraph_symbols import ParagraphSymbols
from curate.filters.paragraph_words import ParagraphWords
from curate.models.packages import cache
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.runner.planning import requests
from curate.runner.recipes import load
from curate.shard.samples import Samples
from curate.sources.web_pages import WebPages

SIZES = (1_000, 10_000, 100_000)
LOOPBACK = ("127.0.0.0/8",)


def grow(source: Path, folder: Path, count: int, files: int = 8) -> None:
    """`count` pages in WARC files: those of `source` again and again under changed URLs."""
    with open(source, "rb") as f:
        pages = [(r.headers["WARC-Target-URI"], r.reader.read()) for r in ArchiveIterator(f)]
    outs = [gzip.open(folder / f"{i}.warc.gz", "wb", 1) for i in range(files)]
    for n in range(count):
        url, body = pages[n % len(pages)]
        host, path = url.split("//", 1)[1].split("/", 1)
        url = f"http://{host}/copy{n // len(pages)}/{path}"
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{n:032x}>\r\nWARC-Date: 2025-03-01T10:00:00Z\r\n"
            f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
        )
        outs[n % files].write(head.encode() + http + b"\r\n\r\n")
    for out in outs:
        out.close()


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def one(count: int) -> None:
    """One size, in this process: the cheap rules and the barrier of shared URLs, no fetch; of the smallest also reading alone."""
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "in"
        pages.mkdir()
        grow(build(cache() / "pages-0", say=lambda line: None).folder / "pages.warc.gz", pages, count)
        recipe = Recipe(
            WebPages(f"{pages}/*.warc.gz"),
            [
                ImageUrlWords(),
                ParagraphWords(),
                ParagraphSymbols(max=0.3),
                DocumentWords(10, 2000),
                DocumentImages(1, 30),
                DocumentLanguage(),
            ],
            [SharedUrl()],
            shards=None,
        )
        before = spent()
        if count <= SIZES[0]:
            for file in recipe.source.files():
                for _ in recipe.source.read(file, 2_000):
                    pass
        alone = spent() - before
        began, before = time.monotonic(), spent()
        made = run(recipe, f"{folder}/run", "local", part_size=2_000)
        wall, cpu = time.monotonic() - began, spent() - before
        disk = sum(f.stat().st_size for f in Path(folder, "run").rglob("*") if f.is_file())
        print(
            json.dumps(
                {
                    "pages": count,
                    "wall_s": round(wall, 1),
                    "cpu_s": round(cpu, 1),
                    "pages_per_cpu_s": round(count / cpu, 1),
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                    "disk_mb": disk >> 20,
                    "rows": {t: sum(c.values()) for t, c in made.recipe["rows"].items()},
                    "shared": made.recipe["notes"]["shared_url"],
                }
            ),
            flush=True,
        )
        if alone:
            print(f"ratio documents, CPU of reading alone over a whole run's, {count:,} pages: {alone / cpu:.3f}", flush=True)


def real() -> None:
    """The demo's manuals by OBELICS' rules: requests, tars beside base64, and the languages of all pages."""
    web = build(cache() / "pages-0", say=lambda line: None)
    with tempfile.TemporaryDirectory() as folder, web.serve():
        recipe = load("obelics").build(WebPages(str(web.folder / "pages.warc.gz")))
        for step in recipe.steps:
            if hasattr(step, "allow_private"):
                step.allow_private = LOOPBACK
        made = run(recipe, f"{folder}/run", "local", part_size=2_000)
        print("\n".join(requests(f"{folder}/run")))
        print(json.dumps({"tar": made.dataset["bytes"], "base64": encoded(made), "documents": made.dataset["samples"]}))
    languages(web.folder / "pages.warc.gz")


def encoded(made) -> int:
    """The bytes of the same documents as one JSON each with base64 images, in tars."""
    total = 1024 * len(made.dataset["shards"])
    for sample in Samples(made.store, [s["name"] for s in made.dataset["shards"]], "documents"):
        images = {n: base64.b64encode(sample.read(n)).decode() for n in sample.info["images"] if n}
        size = len(json.dumps({**sample.info, "image_base64": images}, ensure_ascii=False).encode())
        total += 512 + size + -size % 512
    return total


def languages(warc: Path) -> None:
    """Recall of the first label over the handbook's editions. Editions are partly English, so the truth is the translated: text of
    four words and more that is not in the English edition; and pages of which nine tenths are such text."""
    paragraph, whole = ParagraphLanguage(), DocumentLanguage(min=None)
    paragraph.load()
    whole.load()
    part = pa_concat([p for p in WebPages(str(warc)).read(str(warc), 10**9)])
    texts = part["texts"].filter(pc.is_null(part["texts"]["drop_reason"]))
    urls = dict(zip(part["documents"]["uid"].to_pylist(), part["documents"]["url"].to_pylist()))
    edition = [_edition(urls[u]) for u in texts["doc_uid"].to_pylist()]
    words = [t or "" for t in texts["text"].to_pylist()]
    english = {t for t, e in zip(words, edition) if e == "en"}
    own = [t not in english and len(paragraph_ratios.words(t)) >= 4 for t in words]
    labels = paragraph.run(texts)["paragraph_language"].to_pylist()
    found: dict[str, list[int]] = {}
    for label, e, mine in zip(labels, edition, own):
        if mine or e == "en":
            tell(found, f"{e} paragraphs", label == e)
    share: dict[str, list[int]] = {}
    for u, t, mine in zip(texts["doc_uid"].to_pylist(), words, own):
        seen = share.setdefault(u, [0, 0])
        seen[0] += len(t) * mine
        seen[1] += len(t)
    pages = whole.run(part["documents"], texts.append_column("live", pa.array([True] * len(texts))))[
        "document_language"
    ].to_pylist()
    for u, label in zip(part["documents"]["uid"].to_pylist(), pages):
        e, (mine, total) = _edition(urls[u]), share.get(u, (0, 0))
        if total and (e == "en" or mine >= 0.9 * total):
            tell(found, f"{e} pages", label == e)
    print(json.dumps({k: f"{a} of {b} = {a / b:.3f}" for k, (a, b) in sorted(found.items())}))


def tell(found: dict[str, list[int]], what: str, right: bool) -> None:
    seen = found.setdefault(what, [0, 0])
    seen[0] += right
    seen[1] += 1


def pa_concat(parts: list[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {t: pa.concat_tables([p[t] for p in parts]) for t in parts[0]}


def _edition(url: str) -> str:
    return url.split("/debian-handbook/html/")[1][:2] if "/debian-handbook/html/" in url else "en"


def main(words: list[str]) -> None:
    if words[:1] == ["one"]:
        one(int(words[1]))
    elif words[:1] == ["growth"]:
        for count in map(int, words[1:] or SIZES):
            subprocess.run([sys.executable, "-m", "benchmarks.documents", "one", str(count)], check=True, env=dict(os.environ))
    else:
        real()


if __name__ == "__main__":
    main(sys.argv[1:])
