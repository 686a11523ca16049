"""A cache of servers' answers on this machine, keyed by the hash of the request, so that none is paid for twice."""

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class AnswerCache:
    """A folder of answers, by default `$CURATE_CACHE/answers` or `~/.cache/curate/answers`. Entries are never deleted."""

    def __init__(self, folder: str = ""):
        home = os.environ.get("CURATE_CACHE") or Path.home() / ".cache" / "curate"
        self.folder = Path(folder) if folder else Path(home) / "answers"

    def file(self, hashed: str) -> Path:
        return self.folder / hashed[:2] / f"{hashed}.json"

    def get(self, hashed: str) -> dict[str, Any] | None:
        """The answer to the request with this hash; None if there is none or it cannot be read."""
        file = self.file(hashed)
        try:
            found = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            log.warning("%s: a cached answer cannot be read (%s); it is requested again", file, e)
            return None
        return found if isinstance(found, dict) else None

    def put(self, hashed: str, found: dict[str, Any]) -> None:
        """Store an answer; a failure is logged and the run continues."""
        file = self.file(hashed)
        work = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            work.write_bytes(json.dumps(found).encode())
            work.replace(file)
        except OSError as e:
            log.warning("%s: an answer cannot be cached: %s", file, e)
