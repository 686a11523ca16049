"""GPUs that a run leaves unused: reported before the run and in its notes."""

import logging
from collections.abc import Callable
from typing import Any

from curate.dedup.vectors import gpus as share_of_card
from curate.models import card
from curate.recipe import Recipe
from curate.runner.workers import gpus_here

log = logging.getLogger(__name__)


def unused_cards(recipe: Recipe) -> list[str]:
    """A line for each GPU of this machine that is left unused, with the reason."""
    here = gpus_here()
    uses = [s.name for s in recipe.steps if s.gpus or share_of_card(s.device)]
    if not here:
        return []
    many = f"{here} GPU{'s' * (here != 1)} here"
    if not uses:
        cpu = [s.name for s in recipe.steps if s.device == "cpu"]
        return [f"{many}, and no step uses one" + (f": {', '.join(cpu)} with device cpu" if cpu else "")]
    if not card.count():
        return [f"{many}, and torch sees none: {', '.join(uses)} would work on cores; install torch with CUDA"]
    return []


def with_cards(name: str, notes: dict[str, Any], gpus: Callable[[], float]) -> dict[str, Any]:
    """A selector's notes, with `gpus_unused` if it worked on cores beside GPUs."""
    if notes.get("device") != "cores" or not (unused := gpus()):
        return notes
    log.warning("%s worked on cores, %g GPUs were not used: see its device, and torch's on the workers", name, unused)
    return {**notes, "gpus_unused": unused}
