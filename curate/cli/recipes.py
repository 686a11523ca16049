"""The commands about recipes: the list of them, and the files that they ask for (vocabulary, embeddings)."""

import argparse
import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.cli.arguments import count, folder
from curate.cli.sources import source_of, source_options
from curate.errors import RecipeError
from curate.runner.recipes import GROUPS
from curate.settings import available
from curate.view.look import clean


def _recipes_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument("names", metavar="RECIPE", nargs="*", help="these only: names, or Python files")
    sub.add_argument(
        "--check",
        action="store_true",
        help="build each with its defaults and check that every column a step reads is there; models are not looked for",
    )
    sub.add_argument("--names", dest="just_names", action="store_true", help="names only, a line each")
    sub.add_argument(
        "--settings", action="store_true", help="list every STEP.PARAMETER=VALUE of each, one a line, as --set takes them"
    )
    sub.set_defaults(command=recipes)
    sub.epilog = """examples:
  curate recipes
  curate recipes datacomp_basic             # its steps, with what --set can change
  curate recipes --check mine.py
  curate run cc12m --help"""


def recipes(args: argparse.Namespace) -> int:
    from curate.runner.recipes import load, names

    if args.just_names:
        print("\n".join(names()))
        return 0
    if args.check:
        return _check_recipes(args.names or names())
    loaded = [load(name) for name in args.names or names()]
    if args.settings:
        print("\n".join(f"{step}.{name}={value}" for r in loaded for step, name, value in available(r.checked())))
    elif args.names:
        print("\n\n".join(map(_described, loaded)))
    else:
        _list(loaded)
    return 0


def _list(loaded: list[Any]) -> None:
    """Print the recipes by purpose, whole pipelines first: a line about each, and one of its requirements."""
    groups: dict[str, list[Any]] = {}
    for r in loaded:
        groups.setdefault(r.group, []).append(r)
    wide, width = max(len(r.name) for r in loaded), shutil.get_terminal_size((160, 40)).columns
    for number, name in enumerate(n for n in GROUPS if n in groups):
        print(("\n" if number else "") + GROUPS[name])
        for r in groups[name]:
            about = " ".join(r.doc.split("\n\n")[0].split())
            line = f"  {r.name:<{wide}}  {about}"
            print(line if len(line) <= width else line[: max(width, 40) - 2].rsplit(" ", 1)[0] + " …")
            print(f"  {'':<{wide}}  needs {', '.join(r.needs()) or 'nothing'}")
    print("\n`curate recipes NAME` describes one with its steps, `curate run NAME --help` its options.")


def _described(recipe: Any) -> str:
    """Print a recipe's docstring, and its steps with the parameters that --set can change."""
    steps: dict[str, list[str]] = {}
    made = recipe.checked()
    for step, name, value in available(made):
        steps.setdefault(step, []).append(f"{name}={value}")
    names = [s.name for s in made.steps if s.name not in ("duplicate_uid", "decode")] + ["shards"] * bool(made.shards)
    wide = max(map(len, names))
    lines = [f"  {name:<{wide}}  {'  '.join(steps.get(name, []))}".rstrip() for name in names]
    about = "steps, with the parameters that --set STEP.PARAMETER=VALUE changes (--skip STEP leaves a step out):"
    return "\n".join([f"{recipe.name}: {recipe.doc}", "", f"needs {', '.join(recipe.needs()) or 'nothing'}", "", about, *lines])


def _check_recipes(names: list[str]) -> int:
    """Check each recipe and print a line: ok, or the fault. Returns 1 if there is a fault."""
    from curate.runner.recipes import load

    wrong = 0
    for name in names:
        try:
            steps = len(load(name).checked().steps)
            print(f"{name}: ok, {steps} steps")
        except RecipeError as e:
            wrong += 1
            print(f"{name}: {clean(str(e))}")
    return 1 if wrong else 0


def _vocabulary_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument(
        "-o", "--out", metavar="FILE", required=True, help="the list: a word and its count a line, or entries as JSON"
    )
    sub.add_argument(
        "--texts", metavar="FILE", nargs="+", help="text files, a text a line (.gz and .bz2 too), in place of a pool"
    )
    sub.add_argument("--least", type=count, metavar="N", help="leave out what occurs less often (5; entries: 100)")
    sub.add_argument("--most", type=count, metavar="N", help="only the N most frequent")
    sub.add_argument("--bigrams", action="store_true", help="pairs of neighbouring words too, as ALIGN wants them")
    sub.add_argument(
        "--entries",
        action="store_true",
        help="entries for MetaCLIP's balance: words as it matches them, and pairs that occur together more than by chance",
    )
    sub.add_argument(
        "--pmi", type=float, default=10.0, metavar="BITS", help="pointwise mutual information that a pair of entries needs"
    )
    sub.add_argument("--also", metavar="FILE", nargs="+", help="further entries, one a line: titles, WordNet's lemmas")
    source_options(sub)
    sub.set_defaults(command=vocabulary)
    sub.epilog = """examples:
  curate vocabulary --pairs 'lists/*.parquet' --bigrams --most 1e8 -o words.tsv     # align --vocabulary
  curate vocabulary --texts wikipedia.txt.gz -o words.tsv                           # cc3m, cc12m --vocabulary
  curate vocabulary --texts wikipedia.txt.gz --entries --also titles.txt -o entries.json"""


def vocabulary(args: argparse.Namespace) -> int:
    from curate.balance.entries import ngram_entries, read_entries
    from curate.balance.vocabulary import frequent
    from curate.filters.paragraph_ratios import words

    if args.entries and (args.bigrams or args.most):
        raise RecipeError("--entries has its own rule for pairs and --least for words: leave --bigrams and --most out")
    if args.also and not args.entries:
        raise RecipeError("--also adds to --entries")
    with _whole(args.out) as path, path.open("w", encoding="utf-8", newline="\n") as out:
        if args.entries:
            found = ngram_entries(_texts(args), args.least or 100, args.pmi)
            entries = list(dict.fromkeys([*found, *(e for file in args.also or () for e in read_entries(file))]))
            out.write(json.dumps(entries, ensure_ascii=False, indent=0) + "\n")
            made, kind = len(entries), "entries"
        else:
            made, kind = 0, "words"
            for word, n in frequent(_texts(args), words, args.least or 5, args.most or 0, args.bigrams):
                out.write(f"{word}\t{n}\n")
                made += 1
        if not made:
            least = args.least or (100 if args.entries else 5)
            raise RecipeError(f"no word of the texts occurs {least} times: a smaller --least takes more")
    print(f"{made:,} {kind}: {args.out}", file=sys.stderr)
    return 0


@contextmanager
def _whole(out: str) -> Iterator[Path]:
    """A temporary file beside the output, renamed to it when it is complete."""
    path = Path(out)
    making = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield making
        making.replace(path)
    except OSError as e:
        raise RecipeError(f"{out}: cannot be written: {e.strerror or e}") from e
    finally:
        making.unlink(missing_ok=True)


def _texts(args: argparse.Namespace) -> Iterator[str | None]:
    """The texts of the files or of the pool that the arguments name."""
    from curate.sources.lines import text_lines

    if args.texts:
        for file in args.texts:
            yield from text_lines(file)
        return
    source = source_of(args)
    table = "texts" if "texts" in source.tables else "images"
    for file in source.files():
        for part in source.read(file, 10_000):
            yield from part[table]["text"].to_pylist()


def _embeddings_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    folder(sub)
    sub.add_argument("-o", "--out", metavar="FILE.npy", required=True, help="the vectors, float16, a row each")
    sub.add_argument("--column", default="clip_image", metavar="COLUMN", help="which embeddings")
    sub.add_argument("--where", default="kept", metavar="SQL", help="which rows of the ledger")
    sub.set_defaults(command=embeddings)
    sub.epilog = """examples:
  curate run datacomp_image_based --help                               # --reference wants ImageNet's embeddings
  curate run mine.py --pool imagenet/ -o reference                     # a recipe with Fetch and ClipEmbed
  curate embeddings reference -o imagenet.npy"""


def embeddings(args: argparse.Namespace) -> int:
    import numpy as np

    from curate.selector import identifier
    from curate.view.run import open_run

    run, name = open_run(args.folder), identifier(args.column)
    known = run.sql("describe select * from images").fetchall()
    kinds = {n: kind for n, kind, *_ in known}
    if not kinds.get(args.column, "").endswith("[]"):
        there = ", ".join(n for n, kind in kinds.items() if kind.endswith("[]")) or "none"
        raise RecipeError(f"{args.folder}: {args.column} is no column of embeddings; there are: {there}")
    query = f"select {name}::float[] as v from images where ({args.where}) and {name} is not null order by uid"
    rows, width = run.sql(f"select count(*), max(len(v)) from ({query})").fetchall()[0]
    if not rows:
        raise RecipeError(f"{args.folder}: no row has {args.column}")
    with _whole(args.out) as path:
        out, at = np.lib.format.open_memmap(path, "w+", np.float16, (rows, width)), 0
        for batch in run.sql(query).to_arrow_reader(10_000):
            out[at : at + len(batch)] = batch["v"].flatten().to_numpy().reshape(len(batch), width)
            at += len(batch)
        out.flush()
    print(f"{rows:,} embeddings of {width} numbers: {args.out}", file=sys.stderr)
    return 0


COMMANDS = {
    "recipes": ("the recipes that come with curate, and what each needs", _recipes_options),
    "vocabulary": ("make a list of words or of entries, which some recipes need", _vocabulary_options),
    "embeddings": ("write a run's embeddings as a .npy file, which some recipes need", _embeddings_options),
}
