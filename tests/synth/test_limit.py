"""The limit of requests in flight finds what a server can do, and heeds its refusals."""

from curate.synth.captioners.limit import ConcurrencyLimit


def settled(most: int, capacity: int, answers: int = 5000) -> ConcurrencyLimit:
    """A limit after so many answers of a server that works on `capacity` requests at a time, a second each."""
    limit = ConcurrencyLimit(most)
    for _ in range(answers):
        limit.answered(max(1.0, limit.now / capacity))
    return limit


def test_it_grows_to_what_the_server_can_do_and_little_further():
    for capacity in (4, 20, 60):
        assert capacity * 0.9 <= max(settled(256, capacity).now, 8) <= max(8, capacity * 2.3), capacity
    assert settled(256, 10_000).now == 256 and settled(5, 100).now == 5


def test_a_refusal_takes_a_third_off_once_for_all_that_were_under_way():
    limit = settled(90, 10_000)
    for begun in (1.0, 1.1, 1.2):
        limit.refused(begun, now=2.0)
    assert limit.now == 60
    limit.refused(begun=2.5, now=3.0)
    assert limit.now == 40
    for _ in range(20):
        limit.refused(begun=limit.cut_at, now=limit.cut_at + 1)
    assert limit.now == 1


def test_after_a_refusal_it_grows_slowly():
    limit = settled(300, 10_000)
    limit.refused(1.0, 2.0)
    before = limit.now
    for _ in range(4 * before):
        limit.answered(1.0)
    assert before < limit.now <= before * 1.25


def test_a_server_that_slows_down_is_asked_less():
    limit = settled(64, 10_000)
    for _ in range(64 * 12):
        limit.answered(1.0)
    for _ in range(64 + 63):  # the window that has begun, and most of another
        limit.answered(3.0)
    assert limit.now == 48
