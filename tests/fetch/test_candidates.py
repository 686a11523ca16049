"""Further addresses of an image: which failures lead to the next one, and what the row says then."""

import pyarrow as pa
import pytest

from curate.fetch.candidates import TRY_NEXT, candidates, fetch_candidates
from curate.schema import FETCH


def tried(outcomes: dict[str, str], *rows: list[str]) -> tuple[list[tuple], list[list[str]]]:
    """What rows end with (outcome, address), and the addresses asked for in each round; the first of each row has been asked for."""
    found = {"fetch": [outcomes.get(urls[0]) for urls in rows], "final_url": [urls[0] for urls in rows]}
    rounds = []

    def fetch(asked):
        rounds.append(sorted(asked))
        got = {"fetch": [None] * len(rows), "final_url": [None] * len(rows)}
        for url, waiting in asked.items():
            for row in waiting:
                got["fetch"][row], got["final_url"][row] = outcomes[url], url
        return got

    fetch_candidates(found, [urls[0] for urls in rows], [urls[1:] for urls in rows], fetch)
    return list(zip(found["fetch"], found["final_url"])), rounds


A, B, C, OTHER = "https://a.org/a.jpg", "https://a.org/b.jpg", "https://a.org/c.jpg", "https://other.org/d.jpg"


def test_addresses_are_asked_for_in_their_order_until_one_gives_an_image():
    outcomes = {A: "http_404", B: "not_an_image", C: "ok", OTHER: "ok"}
    assert tried(outcomes, [A, B, C, OTHER]) == ([("ok", C)], [[B], [C]])


def test_a_row_without_an_image_keeps_the_outcome_of_its_first_address():
    assert tried({A: "http_404", B: "empty"}, [A, B], [A]) == ([("http_404", A)] * 2, [[B]])


def test_rows_that_wait_for_the_same_address_ask_once():
    assert tried({A: "http_404", B: "truncated", C: "ok"}, [A, C], [B, C]) == ([("ok", C)] * 2, [[C]])


@pytest.mark.parametrize("outcome", ["dns", "refused", "connection", "tls", "timeout"])
def test_a_host_that_does_not_answer_is_not_asked_for_another_file(outcome):
    assert tried({A: outcome, OTHER: "ok"}, [A, B, C, OTHER]) == ([("ok", OTHER)], [[OTHER]])
    assert tried({A: outcome}, [A, B, C]) == ([(outcome, A)], [])


@pytest.mark.parametrize("outcome", ["ok", "robots", "opt_out", "removed", "matched", "http_429", "hash_mismatch"])
def test_what_was_refused_is_not_asked_for_under_another_name(outcome):
    assert tried({A: outcome}, [A, B, OTHER]) == ([(outcome, A)], [])
    assert tried({A: "http_404", B: outcome}, [A, B, OTHER])[1] == [[B]]


def test_every_outcome_is_thought_of():
    assert TRY_NEXT | {"ok", "robots", "opt_out", "removed", "matched", "http_429", "hash_mismatch"} == set(FETCH)


def test_the_column_of_a_list_that_is_no_list_of_addresses_is_none():
    urls = pa.array([A, None])
    assert candidates(pa.table({"url": urls})) == [[], []]
    assert candidates(pa.table({"url": urls, "candidates": pa.array([[A, B, None, B], None])})) == [[B], []]
    for other in (pa.array(["x", "y"]), pa.array([[1], [2]]), pa.array([{"a": 1}, None])):
        assert candidates(pa.table({"url": urls, "candidates": other})) == [[], []]
