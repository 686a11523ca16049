"""A contained function: no longer than it may, and none of the parent's secrets."""

import pytest

from curate.models.contained import Contained, Died


def test_a_child_that_sleeps_is_a_timeout_and_the_next_question_gets_a_fresh_one():
    with Contained("time:sleep", 5, 1 << 30) as ask:
        assert ask.wall == 110
        ask(0)  # it is up
        ask.wall = 0.2
        with pytest.raises(Died, match="timeout"):
            ask(60)
        ask.wall = 60
        assert ask(0) is None


def test_a_child_sees_no_keys(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with Contained("os:getenv", 5, 1 << 30) as ask:
        assert ask("AWS_SECRET_ACCESS_KEY") is None and ask("PATH") and ask("OMP_NUM_THREADS") == "1"
