"""The HTML parser in a child process: a page that crashes or exhausts it gets an outcome, and the next page a new child."""

from typing import Any

from curate.models.contained import Contained, Died


class Parser(Contained):
    """Parses pages in a child. `seconds` is CPU time for one page, `memory` the child's address space in bytes."""

    def __init__(self, seconds: float, memory: int):
        super().__init__("curate.sources.html.extract:extract", seconds, memory)

    def __call__(self, body: bytes, declared: str | None, url: str, robots: list[str], honor_opt_out: bool) -> dict[str, Any]:
        """What extract() returns, or an outcome if the parser did not survive the page."""
        try:
            return super().__call__(body, declared, url, robots, honor_opt_out)
        except Died as e:
            return {"outcome": f"parser_{e.word}"}
