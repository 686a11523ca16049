"""HTML from the templates in `templates/`, by Jinja2: what is not `Markup` is escaped.

A page is one file that loads nothing: its content security policy lets no script run but the one that it was written with.
"""

import base64
import hashlib
from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.environment import TemplateModule
from markupsafe import Markup

from curate.view.describe import dimensions, kept_words, missing, tail, words
from curate.view.look import number

#: What templates may ask of a value besides Jinja's own filters.
FILTERS = {
    "base64": lambda data: base64.b64encode(data).decode(),
    "px": "{:.1f}".format,
    "number": number,
    "words": words,
    "missing": missing,
    "dimensions": dimensions,
    "kept_words": kept_words,
    "tail": tail,
}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("curate.view"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= FILTERS
    return made


TEMPLATES = _environment()


def macros(name: str) -> TemplateModule:
    """The macros of a template as functions that return Markup."""
    return TEMPLATES.get_template(name).module


PARTS = macros("parts.html")


def text_of(name: str) -> str:
    """A style sheet or a script, as it is."""
    assert TEMPLATES.loader
    return TEMPLATES.loader.get_source(TEMPLATES, name)[0]


def page(title: str, body: Markup, *scripts: str) -> str:
    """A whole HTML file; `scripts` are files of `templates/`."""
    script = "\n".join(map(text_of, scripts))
    allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"
    values = {"title": title, "body": body, "policy": policy, "style": Markup(text_of("style.css")), "script": Markup(script)}
    return TEMPLATES.get_template("page.html").render(values)


def join(blocks: Iterable[str]) -> Markup:
    """Blocks after one another; those that are not Markup are escaped."""
    return Markup("\n").join(blocks)
