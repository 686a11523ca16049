"""The page of stages, filters and selectors: each parameter with type, default and meaning, each step with its source."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from curate.cli import steps
from curate.stage import Filter

PUBLIC = steps.public_steps()
PAGE = Path(__file__).parents[2] / "docs" / "steps.md"


def test_the_page_is_that_of_the_docstrings():
    page = PAGE.read_text()
    assert page == steps.page(), "python -m curate.cli.steps > docs/steps.md"
    assert page.count("\n### ") == len(PUBLIC) > 120


@pytest.mark.parametrize("name", PUBLIC)
def test_each_parameter_has_a_meaning_and_each_step_a_unit_and_a_source(name):
    step = PUBLIC[name]
    assert [f.name for f in steps.parameters(step) if not steps.meaning(step, f.name)] == []
    assert step.unit if issubclass(step, Filter) else True
    assert steps.sources(step) or steps.ours(step), (
        "the docstring names no paper or tool, and does not say that the rule is ours"
    )


@dataclass
class Bright(Filter):
    """Mean grey of the image.

    OBELICS (2306.16527) asks it, and so does 2101.00001. side: pixels of the image that is looked at; fewer are
    faster. gamma: of the screen.

    Images without a side have none.
    """

    side: int = 8
    gamma: float = 1.0
    cut: int = 0


def test_meanings_are_parted_from_the_prose():
    prose, meanings = steps.explained(Bright)
    assert meanings == {"side": "pixels of the image that is looked at; fewer are faster", "gamma": "of the screen"}
    assert prose.endswith("so does 2101.00001.\n\nImages without a side have none.")
    assert steps.meaning(Bright, "cut") == "" and "smallest score" in steps.meaning(Bright, "min")
    at = "https://arxiv.org/abs/"
    assert steps.sources(Bright) == {"OBELICS": f"{at}2306.16527", "arXiv 2101.00001": f"{at}2101.00001"}
    assert not steps.ours(Bright)
