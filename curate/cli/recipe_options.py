"""The options of a recipe, of its source and its pictures, and the recipe that they say."""

import argparse
import inspect
import traceback
from typing import Any

from curate.cli.arguments import completing, count
from curate.cli.sources import kind_of, source_of, source_options
from curate.errors import CurateError, RecipeError
from curate.settings import apply_settings

#: Options that are renamed to `--run-…` where a recipe has a parameter of their name.
_RENAMABLE = ("--deadline", "--resize", "--image-size", "--only-if-bigger", "--format", "--quality")


def _rename_option(sub: argparse.ArgumentParser, flag: str) -> None:
    """Rename an option to `--run-…`, since the recipe has one of its name."""
    action, other = sub._option_string_actions[flag], flag.replace("--", "--run-", 1)
    action.option_strings.append(other)
    sub._option_string_actions[other] = action
    sub._handle_conflict_resolve(None, [(flag, action)])


def recipe_options(sub: argparse.ArgumentParser, recipe: str | None) -> None:
    """Add the options of a recipe and of its source; last, to detect conflicts with the command's own options."""
    from curate.runner.recipes import load

    sub.usage = "%(prog)s RECIPE [INPUT ...] [options]"
    name = sub.add_argument("recipe", metavar="RECIPE", help="one of those that `curate recipes` lists, or a Python file")
    name.complete = completing("recipes", "curate recipes --names; ls *.py 2>/dev/null")
    _settings(sub)
    if recipe is None:
        _all_source_options(sub)
        return
    file = load(recipe)
    sub.description = file.doc or sub.description
    own = sub.add_argument_group(f"options of {file.name}")
    _all_source_options(sub)
    for o in file.options:
        if o.flag in _RENAMABLE and o.flag in sub._option_string_actions:
            _rename_option(sub, o.flag)
        try:
            own.add_argument(
                o.flag,
                dest=_dest(o.name),
                type=o.type,
                default=o.default,
                required=o.required,
                metavar=o.metavar,
                help=(o.about or f"the recipe's parameter {o.name}").replace("%", "%%"),
            )
        except argparse.ArgumentError as e:
            raise RecipeError(
                f"{_location(file)}: parameter {o.name}: curate has an option {o.flag}; call it something else"
            ) from e
    sub.set_defaults(file=file, asked=recipe)


def _settings(sub: argparse.ArgumentParser) -> None:
    """Add the options that change any recipe's steps: --set and --skip."""
    setting = sub.add_argument(
        "--set",
        metavar="STEP.PARAMETER=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change a parameter of a step, such as image_side.min=100; `curate recipes RECIPE` lists all",
    )
    skipped = sub.add_argument(
        "--skip", metavar="STEP", nargs="+", action="extend", default=[], help="leave steps of the recipe out"
    )
    listed = 'curate recipes --settings "$RECIPE" 2>/dev/null'
    setting.complete = completing("settings", f"{listed} | sed 's/=.*/=/'")
    skipped.complete = completing("steps", f"{listed} | sed 's/[.].*//' | sort -u")


def _dest(name: str) -> str:
    """The attribute of the parsed arguments for a recipe's parameter, distinct from all others."""
    return f"recipe {name}"


def _location(file: Any, line: int | None = None) -> str:
    """The location of a recipe's function, `FILE: line`, for messages."""
    code = inspect.unwrap(file.build).__code__
    return f"{code.co_filename}: {line or code.co_firstlineno}"


def _call_recipe(file: Any, source: Any, options: dict[str, Any]) -> Any:
    """Call the recipe's function. RecipeError, with file and line, if it fails or returns no Recipe."""
    from curate.recipe import Recipe

    try:
        recipe = file.build(source, **options)
    except CurateError:
        raise
    except Exception as e:
        mine = inspect.unwrap(file.build).__code__.co_filename
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == mine]
        raise RecipeError(f"{_location(file, lines[-1] if lines else None)}: {type(e).__name__}: {e}") from e
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{_location(file)}: recipe() returned {type(recipe).__name__}, not a Recipe")
    return recipe


def _all_source_options(sub: argparse.ArgumentParser) -> None:
    source_options(sub).add_argument(
        "--part-size",
        type=int,
        metavar="ROWS",
        help="rows in a part, the unit of work and of retry (default: 10000, or as in the existing or the reused run)",
    )
    _picture_options(sub)


def _picture_options(sub: argparse.ArgumentParser) -> None:
    from curate.fetch.stage import FORMATS, MODES

    pictures = sub.add_argument_group(
        "pictures", "As img2dataset re-encodes them; without these the bytes stay as they were fetched."
    )
    pictures.add_argument(
        "--resize", choices=MODES, help="how each picture is brought to --image-size; no: re-encoded as it is"
    )
    pictures.add_argument("--image-size", type=count, metavar="PIXELS", help="side of a resized picture (256)")
    pictures.add_argument("--only-if-bigger", action="store_true", help="smaller pictures keep their size")
    pictures.add_argument("--format", choices=FORMATS, help="what pictures are encoded as (jpg)")
    pictures.add_argument(
        "--quality", type=int, metavar="N", help="of jpg and webp, 0 to 100; of png its compression, 0 to 9 (95, png 6)"
    )
    pictures.add_argument(
        "--ground",
        choices=("white",),
        help="re-encode pictures with transparency, on white; else training sees what lies behind",
    )
    pictures.add_argument(
        "--reencode",
        action="store_true",
        help="re-encode what open_clip's loader does not open (GIF, AVIF, damaged PNG); else dropped",
    )


def _resize(recipe: Any, args: argparse.Namespace) -> None:
    """Set the re-encoding options on every Fetch of the recipe. RecipeError for options that do not go together, or without a Fetch."""
    from curate.fetch.stage import Fetch

    settings = {"image_size": args.image_size, "encode_format": args.format, "encode_quality": args.quality}
    settings = {k: v for k, v in settings.items() if v is not None} | ({"only_if_bigger": True} if args.only_if_bigger else {})
    if args.resize is None and ("image_size" in settings or "only_if_bigger" in settings):
        raise RecipeError(
            "--image-size and --only-if-bigger go with --resize MODE, which says how: border, keep_ratio, center_crop ..."
        )
    selective = ({"ground": args.ground} if args.ground else {}) | ({"reencode": True} if args.reencode else {})
    if args.resize is None and not settings and not selective:
        return
    fetching = [s for s in recipe.steps if isinstance(s, Fetch)]
    if not fetching:
        raise RecipeError(f"--resize, --format, --ground, --reencode: nothing in recipe {recipe.name} fetches with Fetch")
    if settings.get("encode_format") == "png":
        settings.setdefault("encode_quality", 6)
    settings |= selective or {"resize_mode": "no"}
    if args.resize is not None:
        settings["resize_mode"] = args.resize
    Fetch(**settings)  # validates them
    for step in fetching:
        for name, value in settings.items():
            setattr(step, name, value)


def build_recipe(args: argparse.Namespace) -> Any:
    """Build the recipe from the arguments, with its settings, networks, re-encoding and match hook."""
    from curate.fetch.address import networks

    options = {o.name: getattr(args, _dest(o.name)) for o in args.file.options}
    recipe = _call_recipe(args.file, source_of(args), options)
    recipe.name = recipe.name or args.file.name
    recipe = apply_settings(recipe, args.set, args.skip)
    _check_tables(recipe, kind_of(args))
    allow = getattr(args, "allow_private", None)
    networks(allow or ())
    for step in [recipe.source, *recipe.steps] if allow else ():
        step.allow_networks(tuple(allow))
    _resize(recipe, args)
    if match := getattr(args, "match", None):
        _set_match(recipe, match)
    return recipe


def _check_tables(recipe: Any, kind: str) -> None:
    """RecipeError if the recipe needs documents and the source has none."""
    if "documents" in {s.table for s in recipe.steps} and "documents" not in recipe.source.tables:
        raise RecipeError(
            f"recipe {recipe.name} is one of documents: give --pages, --page-urls, --pdfs, --corpus or --videos in place of --{kind}"
        )


def _set_match(recipe: Any, match: str) -> None:
    """Set the match hook on every Fetch of the recipe. RecipeError without a Fetch, or if the hook cannot be loaded."""
    from curate.fetch.stage import Fetch, hook

    fetching = [s for s in recipe.steps if isinstance(s, Fetch)]
    if not fetching:
        raise RecipeError(f"--match {match}: nothing in recipe {recipe.name} fetches with Fetch")
    hook(match)
    for step in fetching:
        step.match = match
