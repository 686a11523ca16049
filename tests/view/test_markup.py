"""Templates: text is escaped wherever it stands, a page lets no script run but its own, and a wheel has them all."""

import base64
import hashlib
import html
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from markupsafe import Markup
from pictured import EVIL

import curate
from curate.view import grid
from curate.view.markup import PARTS, TEMPLATES, join, page
from curate.view.samples import Card, Group
from curate.view.sections import SECTIONS

ROOT = Path(curate.__file__).parent.parent
NAMES = ("uid", "url", "text", "title", "drop_reason", "score", "mime", "release")
ROW = dict.fromkeys(NAMES, EVIL) | {"original_width": 1, "original_height": 1}


def test_markup_is_marked_and_text_is_escaped():
    assert join(["<i>", Markup("<u></u>")]) == "&lt;i&gt;\n<u></u>"
    assert "<x>" not in PARTS.table(("<x>",), [("<x>",)]) and "&lt;t&gt;" in page("<t>", Markup(""))


@pytest.mark.parametrize("thumbnail", [None, b"jpeg"])
def test_no_column_of_a_row_becomes_markup(thumbnail):
    card = Card(ROW, thumbnail)
    other = Card(ROW | {"score": 1.0}, thumbnail)
    kept = Card(ROW | {"drop_reason": None, "shard": EVIL}, thumbnail)
    shown = [
        *(grid.shown(c) for c in (card, kept)),
        grid.brief([card], ["score"]),
        grid.grouped(Group(EVIL, kept, [(other, 0.5)], 3)),
        grid.captioned([card], ["score", EVIL]),
        grid.CARDS.document(ROW, EVIL, [grid.CARDS.paragraph(ROW), grid.CARDS.figure(card, EVIL)]),
        SECTIONS.rule(EVIL, EVIL, [(EVIL, "1"), (EVIL, "2")]),
        SECTIONS.folded(EVIL, EVIL, grid.shown(card), True),
        PARTS.frame(EVIL, 100),
    ]
    for markup in shown:
        assert "&lt;script&gt;" in markup and "<script" not in markup and "<img src=http" not in markup


def test_only_addresses_of_the_web_are_links():
    assert PARTS.link("javascript:alert(1)").strip() == "javascript:alert(1)" and PARTS.link(None).strip() == ""
    assert PARTS.link("data:text/html,x").strip().startswith("data")
    assert 'href="http://a/&#34;onload=&#34;"' in PARTS.link('http://a/"onload="')
    assert "<b>" not in PARTS.link("https://a/<b>", "<b>")


@pytest.mark.parametrize("scripts", [(), ("enlarge.js",), ("sliders.js", "enlarge.js")])
def test_a_page_lets_its_own_script_run_and_no_other(scripts):
    text = page("x", Markup("<p></p>"), *scripts)
    found = re.findall(r"<script>(.*?)</script>", text, re.S)
    allowed = re.search(r"script-src ([^;]*);", html.unescape(text)).group(1)
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in found]
    assert len(found) == bool(scripts) and [allowed] == (digests or ["'none'"])


def test_a_wheel_has_every_template(tmp_path):
    for name in ("curate", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / "source")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=tmp_path / "source", check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {Path(name).name for name in wheel.namelist() if name.startswith("curate/view/templates/")}
    assert packed == set(TEMPLATES.list_templates()) and {"page.html", "style.css", "enlarge.js"} <= packed
