"""The commands that keep runs: check, gc, takedown, export."""

import argparse
import sys
from typing import TYPE_CHECKING

from curate.cli.arguments import count, folder, place
from curate.cli.containers import CONTAINERS, container_options, write_container
from curate.store.folder import PARTS
from curate.view.look import clean

if TYPE_CHECKING:
    from curate.store.atomic import Store
    from curate.upkeep.takedown import TakedownResult

#: Entries of a takedown list that match nothing, of which each is listed.
_LISTED = 1000


def _check_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.set_defaults(command=check)
    sub.epilog = """examples:
  curate check out
  curate run mine.py --pool pool -o out --repair     # computes again what is damaged"""


def check(args: argparse.Namespace) -> int:
    from curate.upkeep.check import check as faults_of
    from curate.view.run import open_run

    run = open_run(args.folder)
    faults = faults_of(run.store)
    for fault in faults:
        print(clean(fault))
    if not faults:
        dataset, earlier = run.dataset, run.dataset.get("releases", [])
        shards = len(dataset["shards"])
        print(f"OK: {dataset['samples']:,} samples in {shards} shard{'s' * (shards != 1)}, root hash {dataset['root_hash']}")
        if earlier:
            samples = dataset["samples"] + sum(r["samples"] for r in earlier)
            print(f"with {len(earlier)} earlier releases: {samples:,} samples, chain hash {dataset['chain_hash']}")
    return 1 if faults else 0


def _gc_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sub.set_defaults(command=gc)
    sub.epilog = "examples:\n  curate gc out --dry-run"


def gc(args: argparse.Namespace) -> int:
    from curate.upkeep.gc import collect
    from curate.view.run import open_run

    removed = collect(open_run(args.folder).store, args.dry_run)
    for name, size in removed.items():
        print(f"{size:>14,}  {name}")
    print(f"{'would remove' if args.dry_run else 'removed'} {len(removed):,} files, {sum(removed.values()):,} bytes")
    return 0


def _takedown_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument(
        "--list",
        metavar="FILE",
        nargs="+",
        default=[],
        help="what to remove: a table with some of the columns url, uid, sha256, or a .txt with one a line; without it an interrupted takedown is completed",
    )
    sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sub.add_argument(
        "--also",
        type=place,
        metavar="RUN",
        nargs="+",
        default=[],
        help="further runs to remove it from: those that were made of this one's shards or rows",
    )
    sub.set_defaults(command=takedown)
    sub.epilog = """It is also removed from all earlier releases that the run was made onto, and what was taken down in one of these is removed from the run.
The exit code is 3 if some entries of the list match no row: they are listed.

examples:
  curate takedown out --list removed.parquet --dry-run
  curate takedown out --list removed.parquet"""


def takedown(args: argparse.Namespace) -> int:
    from curate.removed import Removed, read_requests
    from curate.runner.driver import write_pages
    from curate.store.atomic import Store
    from curate.upkeep.chain import chain, take_down
    from curate.view.run import open_run

    entries = [entry for path in args.list for entry in read_requests(path)]
    wanted = Removed(*({e.value for e in entries if e.kind == kind} for kind in ("url", "uid", "sha256")))
    runs = {s.url: s for folder in [args.folder, *args.also] for s in chain(Store(folder))}
    here = [s for s in runs.values() if len(runs) == 1 or s.exists("recipe.json")]
    found = take_down(here, wanted, lambda store: write_pages(open_run(store.url)), args.dry_run)
    for store, taken in found:
        print(f"{clean(store.url)}:" if len(found) > 1 else "", end="\n" * (len(found) > 1))
        _print_taken(store, taken, args.dry_run)
    gone = set(runs) - {s.url for s in here}
    for url in sorted(gone):
        print(f"curate: {clean(url)}: no run is here: nothing was taken down there", file=sys.stderr)
    if not any(store.names(PARTS) for store in here):
        return 0
    nowhere = [e.origin for e in entries if all(taken.missing.has(e.kind, e.value) for _, taken in found)]
    return _missing(nowhere, len(entries)) or bool(gone)


def _print_taken(store: "Store", taken: "TakedownResult", dry: bool) -> None:
    """Print what a takedown did in one run."""
    if not store.names(PARTS):
        print("no run is here yet: the list is kept for one that begins here")
        return
    rows = ", ".join(f"{n:,} {t}" for t, n in taken.rows.items() if n)
    print(f"{'would remove' if dry else 'removed'} the content of {rows or 'no row: nothing of it is here (any more)'}")
    if taken.shards:
        few = f"{', '.join(taken.shards[:8])}{' …' if len(taken.shards) > 8 else ''}"
        print(f"shards {'to write' if dry else 'written'} again: {len(taken.shards):,} ({few})")
    if taken.after and taken.after != taken.before:
        print(f"root hash {taken.before} -> {taken.after}")
    for path in taken.elsewhere:
        print(
            f"curate: {clean(path)} is an input and still holds bytes of it: curate changes nothing outside a run",
            file=sys.stderr,
        )


def _missing(unmatched: list[str], count: int) -> int:
    """List the entries that no row matches; the exit code."""
    for entry in unmatched[:_LISTED]:
        print(f"matches no row: {clean(entry)}")
    if len(unmatched) > _LISTED:
        print(f"… and {len(unmatched) - _LISTED:,} more")
    if unmatched:
        print(
            f"curate: {len(unmatched):,} of {count:,} entries match no row of this run; they stay on its list, for rows that come later",
            file=sys.stderr,
        )
    return 3 if unmatched else 0


def _export_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    from curate.shard.export import FORMATS

    folder(sub)
    sub.add_argument(
        "--format", required=True, choices=[*CONTAINERS, *FORMATS], metavar="FORMAT", help="one of the formats below"
    )
    sub.add_argument("-o", "--out", metavar="FILE", required=True, help="the file, or folder, to write")
    sub.add_argument(
        "--text",
        metavar="COLUMN",
        default="",
        help="the column that is the caption (the .txt of the shards); every: of blip, all texts that could be drawn",
    )
    sub.add_argument(
        "--turns", metavar="COLUMN", default="", help="the column with conversations or preferences (the only one)"
    )
    _sequence_options(sub)
    container_options(sub)
    sub.set_defaults(command=export)
    wide = max(map(len, FORMATS))
    sub.epilog = "\n".join(
        [
            "formats:",
            *(f"  {name:<{wide}}  {what}" for name, what in CONTAINERS.items()),
            *(f"  {name:<{wide}}  {how.about}{_taken(how.takes)}" for name, how in FORMATS.items()),
            "",
            """examples:
  curate export out --format datacomp-subset -o subset.npy
  curate export out --format llava -o instructions
  curate export pages --format kosmos --tokenizer tokenizer.json --tokens 2048 --single 0.5 -o sequences""",
        ]
    )


def _sequence_options(sub: argparse.ArgumentParser) -> None:
    """Options of the formats of token sequences."""
    sub.add_argument("--tokenizer", metavar="FILE", default="", help="a tokenizer.json, its folder, or a name: write ids")
    sub.add_argument(
        "--tokens", type=count, metavar="N", default=0, help="ids in a row (default: what the model was trained with)"
    )
    sub.add_argument("--images", type=count, metavar="N", default=0, help="the first N pictures of a document (default: 5)")
    sub.add_argument(
        "--single",
        type=float,
        metavar="SHARE",
        default=1.0,
        help="share of the documents with one picture that is written (KOSMOS-1: 0.5)",
    )
    sub.add_argument(
        "--first",
        type=float,
        metavar="SHARE",
        default=-1.0,
        help="share of pairs whose picture comes first (default: of chameleon 0.5, else 1)",
    )
    sub.add_argument("--seed", type=int, metavar="N", default=0, help="of draws")


def _taken(options: tuple[str, ...]) -> str:
    return f" [{' '.join(f'--{o}' for o in options)}]" if options else ""


def export(args: argparse.Namespace) -> int:
    from dataclasses import fields

    from curate.shard.export import export as write
    from curate.shard.formats.base import Options
    from curate.view.reading import consistent, still_as_read

    options = Options(**{f.name: getattr(args, f.name) for f in fields(Options)})
    if args.format in CONTAINERS:
        print(f"{write_container(args):,} samples: {args.out}")
        return 0
    made = consistent(
        [args.folder], lambda run: write(run.store, run.dataset, args.format, args.out, lambda: still_as_read(run), options)
    )
    print(f"{made:,} rows: {args.out}")
    return 0


def _blend_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument(
        "runs", metavar="RUN[=WEIGHT]", nargs="+", type=_weighted, help="finished runs, each with its share of the mix"
    )
    sub.add_argument(
        "-o", "--out", metavar="FILE", default="blend.json", help="the mix; Energon's metadataset is put beside it"
    )
    sub.add_argument(
        "--by",
        choices=("samples", "tokens"),
        default="samples",
        help="what weights are shares of; without weights runs count by size",
    )
    sub.add_argument(
        "--tokens", metavar="COLUMN", default="caption_tokens", help="the column of the shards with a sample's tokens"
    )
    sub.set_defaults(command=blend)
    sub.epilog = """It prints a command line that starts open_clip, Megatron Energon and datasets.interleave_datasets on the mix. A run stands for
all releases that it was made onto.

examples:
  curate blend web books -o blend.json
  curate blend web=7 ocr=2 captions=1 --by tokens -o blend.json"""


def _weighted(text: str) -> tuple[str, float | None]:
    """A run with a weight behind `=`."""
    run, mark, number = text.rpartition("=")
    try:
        weight = float(number) if mark else None
    except ValueError:
        return place(text), None
    if weight is not None and not 0 <= weight < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: a weight is a number, 0 or more")
    return (place(run), weight) if mark else (place(text), None)


def blend(args: argparse.Namespace) -> int:
    from curate.shard.blend import blend as mix

    made = mix(args.runs, args.out, args.by, args.tokens)
    for source in made.sources:
        tokens = "" if source.tokens is None else f", {source.tokens:,} tokens"
        print(
            f"{source.share:7.2%}  {clean(source.run)}: {source.samples:,} samples{tokens}, each {source.factor:g} times as often"
        )
    for trainer, lines in made.commands.items():
        print(f"\n{trainer}:", *(f"  {clean(line)}" for line in lines), sep="\n")
    return 0


COMMANDS = {
    "blend": ("mix several runs for training, and print the command lines of trainers", _blend_options),
    "check": ("verify counts, hashes and loaders; names what is wrong", _check_options),
    "gc": ("delete files that the run no longer refers to", _gc_options),
    "takedown": ("remove what a list names from everything that a run keeps, permanently", _takedown_options),
    "export": ("write the samples in the formats of other tools", _export_options),
}
