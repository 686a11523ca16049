"""Choosing tokens: drawing with a seed a row, and beam search, over any model that gives the logits of the next token.

Every row has a seed of its own and looks at no other row, so a caption does not depend on the batch it was written in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.synth.captioners.base import Decoding

#: (rows, tokens) int64 and the indices of the pictures they belong to -> logits of the next token, (rows, vocabulary).
Step = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Marks:
    """The tokens that begin and end a text."""

    start: int
    end: int


def chance(seed: int, step: int) -> float:
    """A number in [0, 1) from a row's seed and the token position: splitmix64, 53 bits."""
    x = (seed + 0x9E3779B97F4A7C15 * (step + 1)) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return ((x ^ (x >> 31)) >> 11) / 2.0**53


def pick(logits: Any, chances: list[float], how: Decoding) -> Any:
    """Logits (rows, vocabulary) -> one token a row: the best at temperature 0, else drawn from the nucleus by the row's
    chance."""
    import torch

    if how.temperature == 0:
        return logits.argmax(-1)
    ranked, order = (logits.double() / how.temperature).sort(dim=-1, descending=True, stable=True)
    if how.top_k:
        ranked, order = ranked[:, : how.top_k], order[:, : how.top_k]
    shares = ranked.softmax(-1)
    before = shares.cumsum(-1) - shares
    shares = shares.masked_fill(before >= how.top_p, 0.0)  # the token that crosses top_p stays
    reach = shares.cumsum(-1)
    wanted = torch.tensor(chances, dtype=reach.dtype, device=reach.device)[:, None] * reach[:, -1:]
    return order.gather(-1, (reach <= wanted).sum(-1, keepdim=True).clamp(max=order.shape[-1] - 1))[:, 0]


def constrain_logits(logits: Any, tokens: Any, written: int, marks: Marks, how: Decoding) -> Any:
    """Logits with the end forbidden before `min_tokens`, the start always, and repeated tokens penalized."""
    import torch

    logits = logits.clone()
    if how.repetition != 1:
        old = logits.gather(1, tokens)
        logits.scatter_(1, tokens, torch.where(old > 0, old / how.repetition, old * how.repetition))
    logits[:, marks.start] = -np.inf
    if written < how.min_tokens:
        logits[:, marks.end] = -np.inf
    return logits


def draw(step: Step, seeds: list[int], marks: Marks, how: Decoding, device: str = "cpu") -> list[list[int]]:
    """A text for each seed, as tokens without the marks; one that lacks the end mark has `max_tokens`."""
    import torch

    tokens = torch.full((len(seeds), 1), marks.start, dtype=torch.int64, device=device)
    found: list[list[int]] = [[] for _ in seeds]
    rows = torch.arange(len(seeds), device=device)
    for written in range(how.max_tokens):
        logits = constrain_logits(step(tokens, rows), tokens, written, marks, how)
        chosen = pick(logits, [chance(seeds[r], written) for r in rows.tolist()], how)
        for row, token in zip(rows.tolist(), chosen.tolist()):
            found[row].append(token)
        going = chosen != marks.end
        rows, tokens = rows[going], torch.cat([tokens, chosen[:, None]], 1)[going]
        if not len(rows):
            break
    return found


def beam(step: Step, rows: int, marks: Marks, how: Decoding, device: str = "cpu") -> list[list[int]]:
    """The text with the best mean log probability that `how.beams` beams find, for each row; marks as in `draw`."""
    return [_beam(step, row, marks, how, device) for row in range(rows)]


def _beam(step: Callable, row: int, marks: Marks, how: Decoding, device: str) -> list[int]:
    import torch

    tokens = torch.full((1, 1), marks.start, dtype=torch.int64, device=device)
    scores = torch.zeros(1, device=device)
    ended: list[tuple[float, list[int]]] = []
    for written in range(how.max_tokens):
        at = torch.full((len(tokens),), row, device=device)
        logits = constrain_logits(step(tokens, at), tokens, written, marks, how)
        total = scores[:, None] + logits.float().log_softmax(-1)
        best, flat = total.view(-1).topk(min(2 * how.beams, total.numel()))
        origin, token = flat // total.shape[1], flat % total.shape[1]
        last = token == marks.end
        for score, of in zip(best[last].tolist(), origin[last].tolist()):
            if np.isfinite(score):
                ended.append((score / (written + 1), [*tokens[of, 1:].tolist(), marks.end]))
        keep = (~last).nonzero()[: how.beams, 0]
        scores, tokens = best[keep], torch.cat([tokens[origin[keep]], token[keep, None]], 1)
        # A beam's score only falls, and no text is longer than max_tokens.
        if len(ended) >= how.beams and max(s for s, _ in ended) >= float(scores[0]) / how.max_tokens:
            break
    ended += [(s / how.max_tokens, t[1:]) for s, t in zip(scores.tolist(), tokens.tolist())] if not ended else []
    return max(ended, key=lambda e: e[0])[1]
