"""A card that nothing uses is reported, before a run and in its record."""

import pytest

from curate.balance.prototypes import Prototypes
from curate.filters.caption_words import CaptionWords
from curate.recipe import Recipe
from curate.runner import cards
from curate.runner.cards import unused_cards, with_cards
from curate.sources.webdataset import WebDataset


def recipe(*steps) -> Recipe:
    return Recipe(WebDataset(("pool",)), list(steps), name="cards")


@pytest.mark.parametrize(
    ("steps", "seen", "said"),
    [
        ([CaptionWords()], 2, ["2 GPUs here, and no step uses one"]),
        ([Prototypes(device="cpu")], 2, ["2 GPUs here, and no step uses one: prototypes with device cpu"]),
        ([Prototypes()], 0, ["2 GPUs here, and torch sees none: prototypes would work on cores; install torch with CUDA"]),
        ([Prototypes()], 2, []),
    ],
)
def test_a_plan_names_cards_that_no_step_uses(monkeypatch, steps, seen, said):
    monkeypatch.setattr(cards, "gpus_here", lambda: 2)
    monkeypatch.setattr(cards.card, "count", lambda: seen)
    assert unused_cards(recipe(*steps)) == said
    monkeypatch.setattr(cards, "gpus_here", lambda: 0)
    assert unused_cards(recipe(*steps)) == []


def test_the_notes_of_a_selector_on_cores_name_the_cards_beside_it(caplog):
    assert with_cards("near", {"device": "cores"}, lambda: 4.0) == {"device": "cores", "gpus_unused": 4.0}
    assert "near worked on cores, 4 GPUs were not used" in caplog.text
    for notes, many in (({"device": "cores"}, 0.0), ({"device": "cuda"}, 4.0), ({}, 4.0)):
        assert with_cards("near", notes, lambda many=many: many) == notes
