"""Recipe files: found, loaded, and their parameters turned into command line options."""

import difflib
import hashlib
import importlib.util
import inspect
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.recipe import Recipe
from curate.settings import parser
from curate.source import Source
from curate.stage import Stage, Step, snake

FOLDER = Path(__file__).resolve().parents[2] / "pipelines"


#: What parameters mean that many recipes have; a recipe's own docstring says the others, a line each: `name: what it is`.
GLOSSARY = {
    "seed": "seed of everything that is drawn, and of the order in the shards",
    "shard_size": "samples in a shard",
    "model": "CLIP by its open_clip name, NAME:TAG or NAME:FILE[#quick_gelu], a folder, hf-hub:...; small: the bundled model",
    "captioner": "model that looks at pictures and writes: caption:NAME, chat:NAME, coca, small or a URL of an endpoint",
    "writer": "model that rewrites text: text:NAME or a URL of an endpoint",
    "language_model": "file of fastText's lid.176 in place of the bundled one",
    "nsfw_model": "ONNX file in place of open_nsfw",
    "entries": "file of the entries (JSON, or one a line) that texts are matched with: MetaCLIP's metadata.json, or made by `curate vocabulary --entries`",
    "vocabulary": "file of words, one a line, with how often they occur after a tab; `curate vocabulary` makes one",
    "nouns": "file of nouns (WordNet's index.noun) in place of the bundled words",
    "aesthetic": "file of the aesthetic head for the model's embeddings: sac+logos+ava1-l14-linearMSE.pth of improved-aesthetic-predictor is for ViT-L-14:openai",
    "profanity": "file of unwanted words, one a line; none: words are not judged",
    "reference": ".npy file of the reference set's embeddings by the same model; `curate embeddings` makes one of a run over its pictures",
    "clusters": "centroids trained on the pool",
    "centroids": ".npy file of centroids trained before",
    "budgets": "for each pool, named by a part of its path, so much of it: name=number,...",
    "fraction": "share of the pool that stays, best first",
    "min_side": "pixels that the shorter side needs",
    "max_ratio": "longer side over shorter side that a picture may have",
    "min_bytes": "bytes that an image file needs",
    "min_clip": "CLIP score (cosine of image and text) that a pair needs",
    "max_nsfw": "probability of unsafe content that a picture may have; of pages none: pictures are not judged",
    "min_words": "words that a text needs",
    "max_words": "words that a text may have",
    "min_chars": "characters that a text needs",
    "max_repetition": "share of a text's words that may be repeats",
}

#: What recipes are for, in the order in which they are listed; each belongs to the first that fits it (RecipeFile.group).
GROUPS = {
    "whole": "The whole job: begin with these",
    "pairs": "Image-text pairs",
    "captions": "Captions written by models",
    "pages": "Web pages, as interleaved documents and pairs, and texts",
    "videos": "Videos",
}
#: The recipes that are the whole job, in the order in which they are listed.
WHOLE = ("web_pairs", "web_documents")

#: How values of a type are written on the command line.
WRITTEN = {"int": "N", "float": "X", "yes or no": "yes|no", "list": "A,B", "name=value": "NAME=VALUE,..."}


@dataclass(frozen=True)
class Option:
    """A parameter of a recipe: its name, type, default, whether it must be given, and what it means."""

    name: str
    type: Callable[[str], Any]
    default: Any
    required: bool
    about: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def metavar(self) -> str:
        return WRITTEN.get(self.type.__name__, self.name.rsplit("_", 1)[-1].upper())


@dataclass(frozen=True)
class RecipeFile:
    """A loaded recipe file: its name, its docstring, its function, the options that the function takes, and the kinds of steps
    that it uses."""

    name: str
    doc: str
    build: Callable[..., Recipe]
    options: list[Option]
    steps: tuple[type[Step], ...] = ()

    @property
    def group(self) -> str:
        """The group of GROUPS that it is listed under."""
        modules = {s.__module__ for s in self.steps}
        if self.name in WHOLE:
            return "whole"
        if any(h.startswith("curate.videos.") for h in modules):
            return "videos"
        if any(s.table != "images" for s in self.taken() if s.__name__ != "DuplicateUid") or self.name == "alt_text_pairs":
            return "pages"
        return "captions" if any(h.startswith("curate.synth.") for h in modules) else "pairs"

    def needs(self) -> list[str]:
        """What it needs besides the pool: required options, the web, models (with the default names), a GPU."""
        loading = [s for s in self.steps if issubclass(s, Stage) and s.load is not Stage.load]
        always = self.taken()
        found = [o.flag for o in self.options if o.required]
        found += ["--videos"] if any(s.__module__.startswith("curate.videos.") for s in self.steps) else []
        fetching = {s for s in self.steps if issubclass(s, Stage) and s.network}
        found += ["web" if fetching & always else "web (by an option)"] if fetching else []
        for s in sorted(loading, key=lambda s: (s not in always, bool(s.gpus))):
            notes = ["GPU"] * bool(s.gpus) + ["by an option"] * (s not in always)
            found.append(snake(s.__name__) + (f" ({', '.join(notes)})" if notes else ""))
        named = {"model", "captioner", "writer"}
        return found + [f"{o.name} {o.default}" for o in self.options if o.name in named and o.default]

    def taken(self) -> set[type[Step]]:
        """The kinds of steps of the recipe with default options and stand-ins for required ones."""
        from curate.sources.url_pairs import UrlPairs

        try:
            return {type(s) for s in self.build(UrlPairs("*"), **self.stand_ins()).steps}
        except (RecipeError, ValueError):  # what must be given is something else
            return set(self.steps)

    def stand_ins(self) -> dict[str, Any]:
        """Placeholder values for required options."""
        return {o.name: o.type("1" if o.type in (int, float) else "given=1") for o in self.options if o.required}

    def checked(self) -> Recipe:
        """The recipe with its defaults over a list of one pair, a page, a clip or a text, whichever it takes, after Recipe.check; RecipeError
        says what is wrong with it."""
        with tempfile.TemporaryDirectory(prefix="curate-") as folder:
            errors = []
            for source in _small_sources(Path(folder)):
                try:
                    recipe = self.build(source, **self.stand_ins())
                    needed = {s.table for s in recipe.steps} | {recipe.samples}
                    if needed <= set(source.tables):
                        return recipe.check()
                except RecipeError as e:
                    errors.append(e)
            raise errors[0] if errors else RecipeError(f"{self.name}: no source has the tables that it works on")


def _small_sources(folder: Path) -> Iterator[Source]:
    """One minimal source of each kind; the list has CommonPool's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.sources.texts import Texts
    from curate.sources.url_pairs import UrlPairs
    from curate.sources.videos import Videos
    from curate.sources.web_pages import WebPages

    commonpool = {"original_width": 9, "original_height": 9, "face_bboxes": [[0.1, 0.1, 0.2, 0.2]], "sha256": "0" * 64}
    row = {"url": "http://a.example/1.jpg", "text": "a dog", **commonpool}
    row |= {f"clip_{arch}_similarity_score": 0.3 for arch in ("b32", "l14")}
    pq.write_table(pa.Table.from_pylist([row]), folder / "list.parquet")
    yield UrlPairs(str(folder / "list.parquet"))
    (folder / "page.html").write_text("<p>a dog</p>")
    yield WebPages(str(folder / "page.html"))
    (folder / "talk.mp4").touch()
    yield Videos(str(folder / "talk.mp4"))
    (folder / "text.txt").write_text("a dog")
    yield Texts(str(folder / "text.txt"))


def names() -> list[str]:
    """The bundled recipes: the complete pipelines first, then the others by name."""
    found = {p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_")}
    return [*(n for n in WHOLE if n in found), *sorted(found.difference(WHOLE))]


def load(name: str) -> RecipeFile:
    """Load a recipe by its name in `pipelines/` or a file's path; RecipeError suggests near names, or says what is wrong in
    the file."""
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name}.py"
    if not path.is_file():
        if name.endswith(".py"):
            raise RecipeError(f"{name}: there is no such file")
        near = [f"{name}.py"] if Path(f"{name}.py").is_file() else difflib.get_close_matches(name, names(), 1)
        raise RecipeError(
            f"no recipe called {name}" + (f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names())}")
        )
    module = _module(path)
    build = getattr(module, "recipe", None)
    if not callable(build):
        raise RecipeError(f"{path}: has no function recipe(source, ...)")
    used = {v for v in vars(module).values() if inspect.isclass(v) and issubclass(v, Step)} - {Step, Stage}
    steps = tuple(sorted(used, key=lambda s: s.__name__))
    return RecipeFile(path.stem, inspect.getdoc(module) or "", build, _options(build, path), steps)


def _module(path: Path) -> types.ModuleType:
    key = "recipe_" + path.stem + "_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(key, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise RecipeError(f"{path}: cannot be loaded: {type(e).__name__}: {e}") from e
    return module


def _options(build: Callable, path: Path) -> list[Option]:
    descriptions = {**GLOSSARY, **_described(inspect.getdoc(build) or "")}
    found = []
    for p in list(inspect.signature(build, eval_str=True).parameters.values())[1:]:
        required = p.default is inspect.Parameter.empty
        kind = (
            p.annotation
            if p.annotation is not inspect.Parameter.empty
            else (str if required or p.default is None else type(p.default))
        )
        found.append(Option(p.name, parser(kind), None if required else p.default, required, descriptions.get(p.name, "")))
    return found


def _described(doc: str) -> dict[str, str]:
    """The descriptions of parameters in a docstring: `name: description`, each up to the next one or an empty line."""
    found = re.findall(r"^(\w+): (.+(?:\n(?!\w+: ).+)*)", doc, re.M)
    return {name: " ".join(words.split()).rstrip(".") for name, words in found}
