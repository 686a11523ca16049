"""Adaptive concurrency: the number of requests in flight at a server, from its answers and refusals."""

import math

#: Where it begins, and the fewest answers by which one limit is judged.
FIRST = 8
#: Answers in windows for which a limit that proved best is kept before a larger one is tried again.
HELD = 20
#: The share of what a larger limit could bring at most that it has to bring.
GAIN = 0.2


class ConcurrencyLimit:
    """Grows by half after every window of answers, as long as the server answers more in a second than before (by Little's law the
    limit over the mean latency); where latency grows as the limit does, it goes back and stays. A refusal (429, 503) takes a third
    off; from then on it grows by a tenth. A server that has become half as fast gets a quarter less.

    most: the upper bound. now: the limit.
    """

    def __init__(self, most: int):
        self.most, self.now = most, min(most, FIRST)
        self.refused_before, self.held = False, 0
        self.count, self.seconds = 0, 0.0
        self.downscale: tuple[int, float] | None = None  # the limit before, and answers a second at it
        self.best = 0.0  # answers a second at this limit
        self.cut_at = -math.inf

    def answered(self, seconds: float) -> None:
        """An answer has come after so many seconds, while as many requests were under way as may be."""
        self.count, self.seconds = self.count + 1, self.seconds + seconds
        if self.count < max(FIRST, self.now):
            return
        rate = self.now * self.count / max(self.seconds, 1e-9)
        self.count, self.seconds = 0, 0.0
        if self.downscale and rate < self.downscale[1] * (1 + GAIN * (self.now / self.downscale[0] - 1)):
            self._set(self.downscale[0], held=HELD)
        elif rate < self.best / 2:
            self._set(max(1, self.now * 3 // 4))
        elif self.held:
            self.held, self.best = self.held - 1, max(self.best, rate)
        elif self.now < self.most:
            larger = self.now + max(1, self.now // 10) if self.refused_before else math.ceil(self.now * 1.5)
            before = (self.now, rate)
            self._set(min(self.most, larger))
            self.downscale = before
        else:
            self.downscale, self.best = None, max(self.best, rate)

    def refused(self, begun: float, now: float) -> None:
        """Count a refusal (429); `begun`: when the refused request was sent. One reduction for all requests sent before it."""
        if begun >= self.cut_at:
            self._set(max(1, self.now * 2 // 3), held=2)
            self.refused_before, self.cut_at = True, now

    def _set(self, limit: int, held: int = 0) -> None:
        self.now, self.held, self.downscale, self.best = limit, held, None, 0.0
        self.count, self.seconds = 0, 0.0
