"""Settings: changes to a recipe from outside, of parameters (`image_side.min=100`) and by skipped steps."""

import dataclasses
import difflib
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

from curate.errors import RecipeError
from curate.recipe import Recipe
from curate.stage import Stage, Step, column, plain

#: The fields of a recipe that are lists of steps.
_ACTS = ("score", "select", "synth")


def apply_settings(recipe: Recipe, settings: Iterable[str] = (), skip: Iterable[str] = ()) -> Recipe:
    """The recipe with settings applied, each written `STEP.PARAMETER=VALUE` (`shards.PARAMETER=VALUE` for the shards), and without
    the steps in `skip`. Later settings win. RecipeError names the fault and suggests similar names."""
    settings, skip = list(settings), list(dict.fromkeys(skip))
    if not settings and not skip:
        return recipe
    named = {s.name: s for act in _ACTS for s in getattr(recipe, act)}
    for name in skip:
        _check_step(recipe, named, name)
    shards = recipe.shards
    for setting in settings:
        path, value = _split(setting)
        if path.startswith("shards."):
            if shards is None:
                raise RecipeError(f"{setting}: recipe {recipe.name} writes no shards")
            shards = _replace(shards, path.removeprefix("shards.").split("."), value, path)
            continue
        step = max((n for n in named if path.startswith(f"{n}.")), key=len, default=path.partition(".")[0])
        _check_step(recipe, named, step)
        if step in skip:
            raise RecipeError(f"{setting}: {step} is left out by --skip")
        named[step] = _replace_in_step(named[step], path.removeprefix(f"{step}.").split("."), value, path)
    if skip:
        _check_skipped(recipe, [s for s in named.values() if s.name not in skip], [named[n] for n in skip])
    acts = {act: [named[s.name] for s in getattr(recipe, act) if s.name not in skip] for act in _ACTS}
    changes = (*recipe.changes, *settings, *(f"without {name}" for name in skip))
    return dataclasses.replace(recipe, **acts, shards=shards, changes=changes)


def available(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Every setting of a recipe, in order: step, parameter, and its value as text."""
    for step in (s for act in _ACTS for s in getattr(recipe, act)):
        for name in parameters(step):
            yield step.name, name, format_value(getattr(step, name))
    for name in parameters(recipe.shards) if recipe.shards else ():
        yield "shards", name, format_value(getattr(recipe.shards, name))


def parameters(thing: Any) -> list[str]:
    """The names of the parameters of a step, of the shards, or of a parameter that is a dataclass."""
    private = {"name", "table"} if isinstance(thing, Step) else {"captions", "redacts"}
    return [f.name for f in dataclasses.fields(thing) if f.init and f.name not in private]


def format_value(value: Any) -> str:
    """A value as the text of a setting: `en,de`, `a=1,b=2`, `yes`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{k}={format_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(format_value(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value))
    if isinstance(value, float):
        return f"{value:g}"
    return type(value).__name__ if dataclasses.is_dataclass(value) else str(plain(value))


def _split(setting: str) -> tuple[str, str]:
    path, mark, value = setting.partition("=")
    if not mark or "." not in path:
        raise RecipeError(f"--set {setting}: write STEP.PARAMETER=VALUE, as in image_side.min=100")
    return path.strip(), value.strip()


def _check_step(recipe: Recipe, named: dict[str, Step], name: str) -> None:
    """RecipeError if no step of this name can be set or skipped."""
    if name in named:
        return
    if name in {s.name for s in recipe.steps}:
        raise RecipeError(f"{name}: every recipe has this step; it has no settings and cannot be left out")
    raise RecipeError(f"no step called {name} in recipe {recipe.name}{_suggestion(name, named)}")


def _check_skipped(recipe: Recipe, left: list[Step], out: list[Step]) -> None:
    """RecipeError if a skipped step (`out`) adds a column that one of the others (`left`) reads."""
    available = {(t, c) for t in recipe.source.tables for c in recipe.source.adds(t)} | {
        (s.table, c) for s in left for c in s.adds()
    }
    for step in out:
        mine = {(step.table, c) for c in step.adds()} - available
        readers = [s.name for s in left if mine & {(s.table, column(c)) for c in s.reads}]
        if readers:
            raise RecipeError(
                f"--skip {step.name}: {', '.join(readers)} read{'s' * (len(readers) == 1)} what it adds; leave out these too"
            )


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the most similar known name, or all of them."""
    similar = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {similar[0]}?" if similar else f"; there are: {', '.join(known) or 'none'}"


def _replace_in_step(step: Step, path: list[str], value: str, setting: str) -> Step:
    made = _replace(step, path, value, setting)
    return made.reading(step.instead) if isinstance(step, Stage) and step.instead else made


def _replace(thing: Any, path: list[str], value: str, setting: str) -> Any:
    """A copy of a dataclass with the parameter at `path` replaced; its own checks run again."""
    name, *deeper = path
    if name not in parameters(thing):
        owner = setting.rpartition("." + ".".join(path))[0] or type(thing).__name__
        raise RecipeError(f"--set {setting}: {owner} has no parameter {name}{_suggestion(name, parameters(thing))}")
    before = getattr(thing, name)
    if deeper:
        if not dataclasses.is_dataclass(before):
            raise RecipeError(f"--set {setting}: {name} is {format_value(before)} and has no parameters of its own")
        return dataclasses.replace(thing, **{name: _replace(before, deeper, value, setting)})
    if dataclasses.is_dataclass(before):
        if str in get_args(get_type_hints(type(thing))[name]):  # a captioner may be given by name
            return dataclasses.replace(thing, **{name: value})
        inner = ", ".join(f"{name}.{p}" for p in parameters(before))
        raise RecipeError(f"--set {setting}: {name} is a {type(before).__name__}; set one of {inner or 'nothing'}")
    kind = get_type_hints(type(thing)).get(name, str)
    if value.lower() == "none" and _optional(kind):
        return dataclasses.replace(thing, **{name: None})
    parse = parser(kind)
    try:
        found = parse(value)
    except ValueError as e:
        raise RecipeError(f"--set {setting}={value}: {value!r} is not a value of type {parse.__name__}") from e
    return dataclasses.replace(thing, **{name: found})


# ---- parsing of values, also used for recipes' options


def _optional(kind: Any) -> bool:
    return type(None) in get_args(kind)


def parser(kind: Any) -> Callable[[str], Any]:
    """The function that parses text as a value of an annotated type; it raises ValueError.

    `X | None` is parsed as X, lists and sets as comma-separated words, dicts as comma-separated `name=value`.
    """
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        kind = next(k for k in get_args(kind) if k is not type(None))
    origin = get_origin(kind) or kind
    if origin in (tuple, list, set, frozenset):
        item = parser((get_args(kind) or (str,))[0])
        return _named("list", lambda text: origin(item(w.strip()) for w in text.split(",") if w.strip()))
    if origin is dict:
        return _named("name=value", _pairs(parser((get_args(kind) or (str, str))[1])))
    if kind is bool:
        return _named("yes or no", _parse_bool)
    return kind if kind in (int, float, str) else str


def _pairs(item: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    """The parser of comma-separated `name=value`; item: parses a value."""

    def pairs(text: str) -> dict[str, Any]:
        cut = [w.strip().rpartition("=") for w in text.split(",") if w.strip()]
        if not all(name and mark for name, mark, _ in cut):
            raise ValueError(text)
        return {name: item(value) for name, _, value in cut}

    return pairs


def _parse_bool(text: str) -> bool:
    if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "yes", "1")


def _named(name: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The function with the name that errors and help show."""
    parse.__name__ = name
    return parse
