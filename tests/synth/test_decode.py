"""Drawing and beam search over a toy language whose best texts are known."""

import itertools
import math

import pytest
import torch

from curate.errors import RecipeError
from curate.synth.captioners import Decoding
from curate.synth.captioners.base import seed_of
from curate.synth.captioners.decode import Marks, beam, chance, draw, pick

MARKS = Marks(start=0, end=1)
#: P(next | last): after the start 2 is likelier than 3, but what follows 3 is surer.
CHAIN = (
    torch.tensor(
        [
            [0.0, 0.0, 0.6, 0.4, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.3, 0.0, 0.3, 0.4],
            [0.0, 0.95, 0.05, 0.0, 0.0],
            [0.0, 0.5, 0.25, 0.25, 0.0],
        ]
    )
    .clamp(min=1e-9)
    .log()
)


def step(tokens, rows):
    return CHAIN[tokens[:, -1]]


def logp(tokens):
    return sum(float(CHAIN[a, b]) for a, b in itertools.pairwise([0, *tokens]))


def test_greedy_takes_the_best_token_each_time():
    assert draw(step, [1, 2], MARKS, Decoding(max_tokens=5)) == [[2, 4, 1]] * 2


def test_beam_search_finds_the_text_with_the_best_mean_log_probability():
    every = [[*t, 1] for n in range(5) for t in itertools.product((2, 3, 4), repeat=n)]
    best = max((t for t in every if 1 < len(t)), key=lambda t: logp(t) / len(t))
    assert beam(step, 1, MARKS, Decoding(beams=6, max_tokens=5)) == [best] == [[3, 1]]


def test_draws_follow_the_probabilities_and_the_seed_alone():
    how = Decoding(temperature=1.0, max_tokens=5)
    seeds = [seed_of(str(i), 0, 0) for i in range(4000)]
    found = draw(step, seeds, MARKS, how)
    assert abs(sum(t[0] == 2 for t in found) / 4000 - 0.6) < 0.03
    assert draw(step, seeds[:7], MARKS, how) == found[:7] and draw(step, seeds[99:100], MARKS, how) == found[99:100]
    assert abs(sum(t == [3, 1] for t in found) / 4000 - math.exp(logp([3, 1]))) < 0.03


@pytest.mark.parametrize(
    "how, allowed",
    [
        (Decoding(temperature=1.0, top_p=0.5), {0}),
        (Decoding(temperature=1.0, top_p=0.55), {0, 1}),
        (Decoding(temperature=1.0, top_k=2), {0, 1}),
        (Decoding(temperature=1.0), {0, 1, 2}),
        (Decoding(), {0}),
    ],
)
def test_the_nucleus(how, allowed):
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(500, 1)
    assert set(pick(logits, [i / 500 for i in range(500)], how).tolist()) == allowed


def test_shortest_longest_and_repetition():
    assert all(
        len(t) == 3
        for t in draw(
            lambda t, r: CHAIN[torch.zeros(len(t), dtype=int) + 2] * 0, [1], MARKS, Decoding(max_tokens=3, min_tokens=3)
        )
    )
    loop = torch.tensor([-50.0, 0.0, 3.0, 2.5, -1.0])
    said = draw(lambda t, r: loop.repeat(len(t), 1), [1], MARKS, Decoding(max_tokens=4, repetition=2.0))
    assert said == [[2, 3, 2, 2]] or said[0][:2] == [2, 3]
    assert draw(lambda t, r: loop.repeat(len(t), 1), [1], MARKS, Decoding(max_tokens=3)) == [[2, 2, 2]]


def test_chances_are_even():
    drawn = [chance(seed_of(str(i), 0, 0), k) for i in range(500) for k in range(4)]
    assert all(0 <= c < 1 for c in drawn) and abs(sum(drawn) / 2000 - 0.5) < 0.03 and len(set(drawn)) == 2000


@pytest.mark.parametrize(
    "wrong",
    [{"beams": 0}, {"temperature": -1}, {"top_p": 0}, {"min_tokens": 9, "max_tokens": 3}, {"beams": 2, "temperature": 1}],
)
def test_decodings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(RecipeError, match="decoding"):
        Decoding(**wrong)
