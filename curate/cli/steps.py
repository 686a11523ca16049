"""`python -m curate.cli.steps`: the page of all stages, filters and selectors with their parameters, docs/steps.md."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator

import pyarrow as pa

import curate
from curate.selector import Selector
from curate.stage import Filter, Stage, Step

HEAD = """\
# Stages, filters and selectors

Every step that a recipe may use, with its parameters, their defaults and units, and where its rule comes from. All are imported from
`curate`; each takes `name`, the name of the step, of its column and of its drop reason (default: the class in small letters,
`CaptionWords` → `caption_words`). On the command line a parameter is `--set STEP.PARAMETER=VALUE`. Made by
`python -m curate.cli.steps` from the docstrings.
"""

#: The sections of the page, and the folders of their steps.
SECTIONS = {
    "Filters": "filters",
    "Fetching and images": "fetch",
    "Alignment in documents": "documents",
    "Duplicates and evaluation sets": "dedup",
    "Balance": "balance",
    "Selection by a score": "select",
    "Captions and other written text": "synth",
    "Videos": "videos",
    "Published embeddings": "sources",
}

#: Descriptions of parameters that several steps have, where a step's docstring has none.
COMMON = {
    "min": "smallest {score} that is kept; none: no limit",
    "max": "largest {score} that is kept; none: no limit",
    "seed": "seed of its random draws, which are hashes of it and the row's uid",
    "table": "rows of which table: `images`, `documents` or `texts` (paragraphs)",
    "device": "where its tasks compute: `auto` is a GPU where the worker has one, `cpu` never",
    "by": "columns that say which row is better, most important first; the larger value wins, or the smaller after `-`",
    "column": "column that it reads",
    "text": "column with the text",
    "image": "column with the CLIP embeddings of the images",
    "of": "column, or columns, with the texts that it reads",
    "n": "answers asked of the model for each row",
    "decoding": "how the model draws words: sampling, length, JSON schema (`curate.Decoding`)",
    "prompt": "name of a prompt in `curate.synth.prompts`, or a text with columns in braces",
    "model": "CLIP model, `ARCHITECTURE:TAG`, a file, or `small`",
    "wordnet": "folder of WordNet's database files",
    "centroids": "`.npy` file of centroids to use instead of training them",
    "clusters": "number of clusters; 0: the square root of twice the rows",
}

#: Papers and tools that docstrings name, with their addresses.
SOURCES = {
    "ALIGN": "2102.05918",
    "C4": "1910.10683",
    "CC12M": "2102.08981",
    "CC3M": "https://aclanthology.org/P18-1238",
    "COYO": "https://github.com/kakaobrain/coyo-dataset",
    "CapsFusion": "2310.20550",
    "Conceptual Captions": "https://aclanthology.org/P18-1238",
    "DataComp": "2304.14108",
    "Detoxify": "https://github.com/unitaryai/detoxify",
    "ERNIE-ViL": "2006.16934",
    "FineVision": "https://huggingface.co/datasets/HuggingFaceM4/FineVision",
    "Flamingo": "2204.14198",
    "KOSMOS-1": "2302.14045",
    "LAION": "2210.08402",
    "LLaVA": "2304.08485",
    "LaCLIP": "2305.20088",
    "M3W": "2204.14198",
    "MINT-1T": "2406.11271",
    "MassiveText": "2112.11446",
    "MetaCLIP": "2309.16671",
    "NeMo Curator": "https://github.com/NVIDIA/NeMo-Curator",
    "NegCLIP": "2210.01936",
    "OBELICS": "2306.16527",
    "OmniCorpus": "2406.08418",
    "RapidOCR": "https://github.com/RapidAI/RapidOCR",
    "SemDeDup": "2303.09540",
    "VATT": "2104.11178",
    "WordNet": "https://wordnet.princeton.edu",
    "fastText": "https://fasttext.cc",
    "img2dataset": "https://github.com/rom1504/img2dataset",
    "mmc4": "2304.06939",
    "open_nsfw": "https://github.com/yahoo/open_nsfw",
}


def public_steps() -> dict[str, type[Step]]:
    """The steps that `curate` exports, by name."""
    found = {name: getattr(curate, name) for name in dir(curate) if name[:1].isupper()}
    bases = (Step, Stage, Filter, Selector)
    return {n: v for n, v in found.items() if isinstance(v, type) and issubclass(v, Step) and v not in bases}


def parameters(step: type[Step]) -> list[dataclasses.Field]:
    """The parameters of a step, in order, without `name`, which all have."""
    return [f for f in dataclasses.fields(step) if f.init and f.name != "name"]


def explained(step: type[Step]) -> tuple[str, dict[str, str]]:
    """The step's docstring without the sentences `parameter: meaning`, and these sentences; of inherited parameters too."""
    names = [f.name for f in parameters(step)]
    prose, meanings = _parted(inspect.getdoc(step) or "", names)
    for base in step.__mro__[1:]:
        if issubclass(base, Step) and base.__doc__:
            meanings = _parted(inspect.cleandoc(base.__doc__), names)[1] | meanings
    return prose, meanings


def _parted(doc: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """Text without its definitions, and the definitions by name: `name: …` and `name    …`, each up to the next or the paragraph's end."""
    one = f"(?:{'|'.join(map(re.escape, names)) or '(?!)'})"
    start = re.compile(rf"(?:^[ ]*|(?<=[.;:)] ))({one}(?:, {one})*)(?::[ \n]+|[ ]{{2,}})", re.M)
    prose, meanings = [], {}
    for paragraph in doc.split("\n\n"):
        found = list(start.finditer(paragraph))
        prose.append(paragraph[: found[0].start()] if found else paragraph)
        for this, following in zip(found, [*found[1:], None]):
            words = " ".join(paragraph[this.end() : following.start() if following else None].split())
            meanings |= dict.fromkeys(this[1].split(", "), words.rstrip(".;"))
    return "\n\n".join(p.strip() for p in prose if p.strip()), meanings


def meaning(step: type[Step], name: str) -> str:
    """The description of a parameter, from its step's docstring or COMMON; empty if there is none."""
    if meaning := explained(step)[1].get(name):
        return meaning
    if name in ("min", "max") and not issubclass(step, Filter):
        return ""
    unit = getattr(step, "unit", "")
    return COMMON.get(name, "").format(score=f"score, in {unit}" if unit and unit[0] not in "01" else "score")


def sources(step: type[Step]) -> dict[str, str]:
    """The papers and tools that a step's docstring names, as links."""
    docs = [
        inspect.cleandoc(b.__doc__ or "")
        for b in step.__mro__
        if issubclass(b, Step) and b not in (Step, Stage, Filter, Selector)
    ]
    text = "\n".join(docs)
    found = {name: _address(at) for name, at in SOURCES.items() if re.search(rf"(?<![\w-]){re.escape(name)}", text)}
    known = set(found.values())
    papers = dict.fromkeys(re.findall(r"(?<![\d.])\d{4}\.\d{4,5}(?!\d|\.\d)", text))
    return (
        found
        | {f"arXiv {p}": _address(p) for p in papers if _address(p) not in known}
        | {u: u for u in re.findall(r"https?://[^\s)]+[^\s).,]", text)}
    )


def ours(step: type[Step]) -> bool:
    """Whether the docstring states that the rule is not from a publication (`Ours`)."""
    return bool(re.search(r"\b(ours|our own)\b", inspect.getdoc(step) or "", re.I))


def _address(source: str) -> str:
    return source if source.startswith("http") else f"https://arxiv.org/abs/{source}"


def type_name(kind: object) -> str:
    """A parameter's type, as shown on the page."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " or ".join(type_name(k) for k in typing.get_args(kind)).replace("NoneType", "none")
    origin = typing.get_origin(kind)
    if origin is Callable:
        return "function"
    if origin is not None:
        inner = ", ".join(type_name(k) for k in typing.get_args(kind) if k is not Ellipsis)
        return f"{origin.__name__.lower()} of {inner}" if inner else origin.__name__
    return getattr(kind, "__name__", str(kind)).replace("NoneType", "none")


def default(field: dataclasses.Field) -> str:
    """A parameter's default as it is written in Python; `required` if there is none."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if isinstance(value, float):
        return f"`{value:.6g}`"
    if dataclasses.is_dataclass(value):
        return f"`{type(value).__name__}()`"
    if len(repr(value)) > 80:
        return f"{len(value)} values"
    if isinstance(value, (set, frozenset)):
        return f"`{{{', '.join(map(repr, sorted(value)))}}}`" if value else "none"
    return "none" if value is None else f"`{value!r}`"


def page() -> str:
    """The page as Markdown."""
    steps = public_steps()
    lines = [HEAD]
    for title, folder in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name, step in steps.items():
            if step.__module__.split(".")[1] == folder:
                lines += _entry(name, step)
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, step: type[Step]) -> Iterator[str]:
    yield f"### {name}\n"
    yield _markdown(explained(step)[0]) + "\n"
    yield _facts(step) + "\n"
    fields = parameters(step)
    if fields:
        hints = typing.get_type_hints(step)
        yield "| parameter | type | default | meaning |\n|---|---|---|---|"
        for field in fields:
            cells = (f"`{field.name}`", type_name(hints[field.name]), default(field), meaning(step, field.name))
            yield "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
        yield ""


def _facts(step: type[Step]) -> str:
    """One line: what it is, on which table, the unit of its score, its sources."""
    kind = "selector" if issubclass(step, Selector) else "filter" if issubclass(step, Filter) else "stage"
    facts = [f"{kind.capitalize()} of `{step.table}`"]
    if issubclass(step, Filter):
        facts.append(f"score: {_arrow(step.dtype)}, {step.unit}")
    found = ", ".join(f"[{n}]({at})" if n != at else f"<{at}>" for n, at in sources(step).items())
    facts.append(f"source: {found or 'ours'}")
    return "*" + " · ".join(facts) + "*"


def _arrow(kind: pa.DataType) -> str:
    return {"float": "float32", "large_string": "text", "bool": "true or false"}.get(str(kind), str(kind))


def _markdown(prose: str) -> str:
    """A docstring's text as Markdown, with its indented lines as listings."""
    return re.sub(r"(?:^  .*(?:\n|\Z))+", lambda m: f"\n```text\n{m[0].rstrip()}\n```\n", prose, flags=re.M)


if __name__ == "__main__":
    print(page(), end="")
