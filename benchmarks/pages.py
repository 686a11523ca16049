"""Pages beside peers: images and text found on labelled pages, and pages a second from WARC.gz to rows on one core.

    python -m benchmarks.pages labels --pages FOLDER     FOLDER/PACKAGE/… holds the unpacked Debian packages of the labels
    python -m benchmarks.pages speed FILE.warc.gz
    python -m benchmarks.pages short                     the templates alone
    python -m benchmarks.pages pack FOLDER FILE.warc.gz  pages of a folder as a WARC.gz file, for `speed`

Peers that are not installed are left out, and said so.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urljoin

from benchmarks.page_templates import TEMPLATES
from curate.sources.html.extract import IMAGE, TEXT, extract
from curate.sources.warc import records
from curate.sources.web_pages import WebPages

#: The rules were made with `manuals` in sight, and without `unseen`.
LABELS = [Path(__file__).parent.parent / "tests" / "data" / "page_labels" / f"{name}.json" for name in ("manuals", "unseen")]
#: Where the pages are said to lie.
BASE = "https://manuals.example/page/"

Found = tuple[list[str], str]  # absolute image URLs, the text


# ---- the peers


def curate(body: bytes) -> Found:
    """Live images and texts of one page."""
    found = extract(body, None, BASE, [], True)
    images = [dict(zip(IMAGE, row)) for row in found.get("images", ())]
    texts = [dict(zip(TEXT, row)) for row in found.get("texts", ())]
    live = [t["text"] for t in texts if t["drop_reason"] is None]
    return [i["url"] for i in images if i["drop_reason"] is None], "\n".join(live)


def src_walker(body: bytes) -> Found:
    """Every `img` with `src` or `data-src`, and all text: what most pipelines' walkers do."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(body.decode("utf-8", "replace"))
    tree.strip_tags(["script", "style", "noscript"])
    urls = [n.attributes.get("src") or n.attributes.get("data-src") for n in tree.css("img")]
    return [urljoin(BASE, u) for u in urls if u], tree.body.text(separator=" ") if tree.body else ""


def trafilatura(body: bytes) -> Found:
    import trafilatura as peer

    text = peer.extract(body, url=BASE, include_images=True, include_tables=True, output_format="markdown") or ""
    return [urljoin(BASE, u) for u in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text)], text


def resiliparse(body: bytes) -> Found:
    """Its main content; it gives text only."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    html = bytes_to_str(body, detect_encoding(body))
    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, main_content=True, alt_texts=False)
    return [], text


PEERS: dict[str, Callable[[bytes], Found]] = {
    "curate": curate,
    "src walker": src_walker,
    "trafilatura": trafilatura,
    "resiliparse": resiliparse,
}
NEEDS = {"src walker": "selectolax", "trafilatura": "trafilatura", "resiliparse": "resiliparse"}


def installed() -> dict[str, Callable[[bytes], Found]]:
    missing = [n for n, package in NEEDS.items() if importlib.util.find_spec(package) is None]
    for name in missing:
        print(f"{name}: not installed, left out")
    return {n: f for n, f in PEERS.items() if n not in missing}


# ---- found and not found


def labels(folder: Path) -> None:
    """Recall and precision of images; share of labelled content passages found, and of others that came along."""
    for file in LABELS:
        pages = json.loads(file.read_text())["pages"]
        loaded = [(p, (folder / p["package"] / p["path"]).read_bytes()) for p in pages]
        changed = [p["path"] for p, body in loaded if hashlib.sha256(body).hexdigest() != p["sha256"]]
        if changed:
            sys.exit(f"{len(changed)} pages are not the labelled ones, first {changed[0]}")
        count = {k: sum(len(p[k]) for p in pages) for k in ("content", "boilerplate", "text", "other_text")}
        print(
            f"{file.stem}: {len(pages)} pages; images: {count['content']} content, {count['boilerplate']} boilerplate; "
            f"passages: {count['text']} content, {count['other_text']} other"
        )
        report(loaded)
    made = [(asdict(t), t.html.encode()) for t in TEMPLATES.values()]
    print(f"templates: {len(made)} pages, {sum(len(p['content']) for p, _ in made)} content images")
    report(made)


def report(pages: list[tuple[dict, bytes]]) -> None:
    print(f"{'':14} {'image recall':>13} {'precision':>10} {'text recall':>12} {'other text':>11}")
    for name, peer in installed().items():
        print(score(name, [(p, peer(body)) for p, body in pages]))


def score(name: str, found: list[tuple[dict, Found]]) -> str:
    hit = wrong = content = text = texts = other = others = 0
    for page, (urls, passage) in found:
        names = {_tail(u) for u in urls}
        content += len(page["content"])
        hit += sum(_tail(c) in names for c in page["content"])
        wrong += sum(_tail(b) in names for b in page["boilerplate"])
        flat = _flat(passage)
        texts, text = texts + len(page["text"]), text + sum(_flat(t) in flat for t in page["text"])
        others, other = others + len(page["other_text"]), other + sum(_flat(t) in flat for t in page["other_text"])
    images = f"{hit / content:13.1%} {hit / (hit + wrong):10.1%}" if hit else f"{'no images':>24}"
    return f"{name:14} {images} " + (f"{text / texts:12.1%} {other / others:11.1%}" if texts else "")


def _tail(url: str) -> str:
    """The file name: what tells a page's images apart, whatever its base."""
    return url.split("?")[0].split("#")[0].rsplit("/", 1)[-1].replace("%20", " ")


def _flat(text: str) -> str:
    """Letters and digits only: white space and markup of the outputs differ."""
    return re.sub(r"[\W_]+", "", text)


# ---- speed


def pack(folder: Path, target: Path) -> None:
    """The HTML files of a folder as responses in a WARC.gz file."""
    with open(target, "wb") as out:
        for path in sorted(p for p in folder.rglob("*.htm*") if p.is_file()):
            body = path.read_bytes()
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2025-01-01T00:00:00Z\r\nContent-Length: {len(http)}\r\n"
                f"WARC-Record-ID: <urn:uuid:{hashlib.md5(body).hexdigest()}>\r\n"
                f"WARC-Target-URI: {BASE}{path.relative_to(folder)}\r\n"
                "Content-Type: application/http; msgtype=response\r\n\r\n"
            )
            out.write(gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0))


def short(copies: int = 40) -> None:
    """The templates alone: what is found on them, and pages a second beside the walker of `src` attributes."""
    made = [(asdict(t), t.html.encode()) for t in TEMPLATES.values()]
    found = [(p, curate(body)) for p, body in made]
    print(score("curate", found))
    urls = sum(sum(_tail(c) in {_tail(u) for u in f[0]} for c in p["content"]) for p, f in found) / sum(
        len(p["content"]) for p, _ in made
    )
    print(f"ratio pages, recall of the templates' images: {urls:.3f}")
    with tempfile.TemporaryDirectory() as name:
        for i, (_, body) in enumerate(made * copies):
            (Path(name) / f"{i:05d}.html").write_bytes(body)
        file = f"{name}/pages.warc.gz"
        pack(Path(name), Path(file))
        rates = {}
        for who, run in (("curate", curate_rows), ("walker", over_fastwarc(src_walker))):
            begin = _cpu()
            rates[who] = run(file) / (_cpu() - begin)
    print(f"ratio pages, pages per CPU-s over those of a walker of src attributes: {rates['curate'] / rates['walker']:.3f}")


def curate_rows(file: str) -> int:
    source = WebPages(file)
    return sum(len(part["documents"]) for part in source.read(file, 10_000))


def over_fastwarc(peer: Callable[[bytes], Found]) -> Callable[[str], int]:
    """A peer that only extracts, fed by the same reader as ours."""

    def run(file: str) -> int:
        count = 0
        for page in _pages(file):
            peer(page)
            count += 1
        return count

    return run


def _pages(file: str) -> Iterator[bytes]:
    with open(file, "rb") as f:
        yield from (r.body for r in records(f, file, 10 << 20) if r.outcome is None)


def datatrove(file: str) -> int:
    """Its WARC reader and its trafilatura extractor."""
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    path = Path(file)
    reader, extractor = WarcReader(str(path.parent), glob_pattern=path.name), Trafilatura(timeout=10)
    read: list[int] = []
    for _ in extractor((read.append(1) or page for page in reader()), rank=0, world_size=1):
        pass
    return len(read)  # it drops pages in which it finds no text


def speed(file: str, seconds: float) -> None:
    """CPU time of this process and its children: pages a second and core."""
    runs: dict[str, Callable[[str], int]] = {"curate": curate_rows}
    runs |= {n: over_fastwarc(f) for n, f in installed().items() if n != "curate"}
    if importlib.util.find_spec("datatrove"):
        runs["datatrove"] = datatrove
    first = 0.0
    for name, run in runs.items():
        if time_guess(name, file) > seconds:
            print(f"{name}: would take longer than {seconds:.0f} s, left out")
            continue
        begin, wall = _cpu(), time.perf_counter()
        try:
            pages = run(file)
        except ImportError as e:
            print(f"{name}: {e}, left out")
            continue
        cpu = _cpu() - begin
        rate = pages / cpu
        first = first or rate
        spent = time.perf_counter() - wall
        ratio = f"curate / {name} = {first / rate:.2f}"
        print(f"{name:14} {pages:6} pages {cpu:7.2f} CPU-s {spent:7.2f} s {rate:8.1f} pages/CPU-s  {ratio}")


def time_guess(name: str, file: str) -> float:
    """Seconds a peer might need: 40 ms a megabyte of WARC.gz for parsers, a second for trafilatura."""
    megabytes = Path(file).stat().st_size / 1e6
    return megabytes * (20.0 if name in ("trafilatura", "datatrove") else 0.2)


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("short")
    commands.add_parser("labels").add_argument("--pages", type=Path, required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("file")
    fast.add_argument("--seconds", type=float, default=300)
    packed = commands.add_parser("pack")
    packed.add_argument("folder", type=Path)
    packed.add_argument("file", type=Path)
    given = parser.parse_args()
    if given.command == "labels":
        labels(given.pages)
    elif given.command == "short":
        short()
    elif given.command == "speed":
        speed(given.file, given.seconds)
    else:
        pack(given.folder, given.file)


if __name__ == "__main__":
    main()
