"""How a request fails."""


class Failed(Exception):
    """A request that brought no body: its outcome, one of schema.FETCH, and why."""

    def __init__(self, outcome: str, why: str = "", status: int | None = None, retry_after: float | None = None):
        self.outcome, self.why, self.status, self.retry_after = outcome, why, status, retry_after
        super().__init__(f"{outcome}: {why}" if why else outcome)
