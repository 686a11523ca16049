"""Command-line options that name the source of rows: lists of URLs, pools, pages, videos."""

import argparse
import importlib
import re
from typing import Any

from curate.errors import RecipeError

#: Pattern of the file names of each kind of input. A folder has the first kind of which it holds a file; Parquet counts as a list.
NAME_PATTERNS = {
    "pool": r"[.]tar$",
    "pages": r"[.](x?html?|warc([.]gz)?|paths([.]gz)?)$",
    "pdfs": r"[.]pdf$",
    "videos": r"[.](mp4|webm|mkv|mov|avi)$",
    "tables": r"(^hf://datasets/|[.](arrow|lance)/?$)",
    "pairs": r"[.](parquet|pq|csv|tsv|tab|jsonl|ndjson|json)([.](gz|zst|bz2))?$",
    "page_urls": r"[.]txt([.]gz)?$",
}

KINDS = ("pairs", "tables", "pool", "pages", "page_urls", "pdfs", "corpus", "audio", "videos")
_LISTED = ", ".join(f"--{k.replace('_', '-')}" for k in KINDS)

#: Sources whose only parameter is their paths.
_PATH_SOURCES = {
    "pages": "web_pages:WebPages",
    "page_urls": "page_urls:PageUrls",
    "pdfs": "pdfs:Pdfs",
}


def source_options(sub: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that name a source."""
    source = sub.add_argument_group(
        "source",
        f"One of {_LISTED}; paths may be local or any fsspec URL.",
    )
    _pair_options(source)
    source.add_argument(
        "--pages",
        metavar="GLOB",
        nargs="+",
        help="web pages: WARC, WARC.gz, Common Crawl's warc.paths.gz, HTML files, folders of them",
    )
    source.add_argument(
        "--page-urls",
        metavar="GLOB",
        nargs="+",
        help="lists of page URLs to fetch: text files, one a line, or Parquet with a column url",
    )
    source.add_argument("--pdfs", metavar="GLOB", nargs="+", help="PDF files, or folders of them: a document each")
    source.add_argument(
        "--corpus", metavar="GLOB", nargs="+", help="text corpora, a document a row (JSON lines, Parquet, CSV) or a .txt file"
    )
    source.add_argument(
        "--audio",
        metavar="GLOB",
        nargs="+",
        help="lists of sound files, or of their URLs, with texts (audio or url, text or caption): Parquet, CSV, JSON lines",
    )
    source.add_argument(
        "--videos",
        metavar="GLOB",
        nargs="+",
        help="videos with their speech beside them (.vtt, .srt, .json), or tables of clips (video, start, end, text)",
    )
    source.add_argument(
        "--roots",
        metavar="FOLDER",
        nargs="+",
        default=(),
        help="folders in which files named by lists of --audio and --videos may lie, besides the list's own",
    )
    return source


def _pair_options(source: argparse._ArgumentGroup) -> None:
    """Lists of URLs, and pools and tables that hold the pictures."""
    source.add_argument("--pairs", metavar="GLOB", nargs="+", help="lists of image URLs: Parquet, CSV, TSV, JSON lines")
    source.add_argument(
        "--url",
        metavar="COLUMN",
        help="column of the list with the image's URL, or a field of one: meta.url (default: found by its name: url, image_url, ...)",
    )
    source.add_argument(
        "--text", metavar="COLUMN", help="the same of the caption (default: found by its name: text, caption, alt, ...)"
    )
    source.add_argument(
        "--without",
        metavar="COLUMN",
        nargs="+",
        default=(),
        help="columns of a list, or of the table beside a tar, to leave out",
    )
    source.add_argument(
        "--pool", metavar="FOLDER", nargs="+", help="WebDataset folders or tars (img2dataset, DataComp, a run's shards)"
    )
    source.add_argument(
        "--tables",
        metavar="GLOB",
        nargs="+",
        help="tables with the pictures in them: Parquet, Arrow, Lance, or OWNER/NAME, a data set of Hugging Face's hub",
    )
    source.add_argument(
        "--image", metavar="COLUMN", default="", help="column of such a table with the pictures (found by its name)"
    )


def assign_inputs(args: argparse.Namespace, words: list[str]) -> None:
    """Assign positional inputs to the option of their kind. RecipeError for one whose kind is unknown."""
    for word in words:
        kind = guess_kind(word)
        setattr(args, kind, [*(getattr(args, kind) or ()), word])


def guess_kind(path: str) -> str:
    """The kind of an input by its name, or of a folder by its files. RecipeError if unknown."""
    from curate.paths import filesystem

    for kind, ending in NAME_PATTERNS.items():
        if re.search(ending, path, re.IGNORECASE):
            return kind
    fs, inner = filesystem(path)
    below = fs.find(inner) if fs.isdir(inner) else []
    for kind, ending in NAME_PATTERNS.items():
        if any(re.search(ending, name, re.IGNORECASE) for name in below):
            return kind
    cause = (
        "holds nothing that curate reads"
        if below
        else "is not there"
        if not fs.exists(inner)
        else "is of no kind that is known"
    )
    raise RecipeError(f"{path}: {cause}; name it with one of {_LISTED}")


def kind_of(args: argparse.Namespace) -> str:
    """The kind of source that the arguments name. RecipeError unless it is exactly one."""
    named = [k for k in KINDS if getattr(args, k)]
    if len(named) != 1:
        raise RecipeError(f"say where the rows come from, with a glob or a folder behind one of {_LISTED}")
    return named[0]


def source_of(args: argparse.Namespace) -> Any:
    """Build the source that the arguments name."""
    kind = kind_of(args)
    if kind == "pairs":
        from curate.sources.columns import usual
        from curate.sources.url_pairs import UrlPairs

        url, text = args.url or "", args.text or ""
        if not (url and text):
            names = UrlPairs(args.pairs).names()
            url, text = url or usual("url", names), text or usual("text", names)
        return UrlPairs(args.pairs, url=url, text=text, without=tuple(args.without))
    if kind == "tables":
        from curate.sources.image_tables import ImageTables

        return ImageTables(args.tables, image=args.image, url=args.url or "", text=args.text or "", without=tuple(args.without))
    if kind == "pool":
        from curate.sources.webdataset import WebDataset

        return WebDataset(args.pool, without=tuple(args.without))
    if kind == "corpus":
        from curate.sources.texts import Texts

        return Texts(args.corpus, text=args.text or "", url=args.url or "", without=tuple(args.without))
    if kind == "audio":
        from curate.sources.audio_pairs import AudioPairs

        columns = {"text": args.text or "", "url": args.url or "", "without": tuple(args.without)}
        return AudioPairs(args.audio, **columns, roots=tuple(args.roots))
    if kind == "videos":
        from curate.sources.videos import Videos

        return Videos(args.videos, roots=tuple(args.roots))
    module, name = _PATH_SOURCES[kind].split(":")
    return getattr(importlib.import_module(f"curate.sources.{module}"), name)(getattr(args, kind))
