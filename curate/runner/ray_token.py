"""The authentication token of a Ray cluster: private to its owner, made before a cluster is joined.

Whoever reaches a Ray cluster without token authentication can run code on it. A cluster that Ray starts on this machine has it, and
all its sockets on loopback; but the file that Ray makes for the token is readable by everybody on the machine.
"""

import contextlib
import logging
import os
import secrets
from pathlib import Path

from curate.errors import RecipeError

log = logging.getLogger(__name__)


def file() -> Path:
    """The path where Ray looks for the token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def before_start() -> None:
    """Create the token's file if there is none, before Ray does: readable by its owner alone."""
    if _elsewhere():
        return
    path = file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_hex(32))
    except OSError as e:
        log.warning("%s: cannot be written: %s", path, e.strerror)
        return
    _shut(path)


def before_join(address: str) -> None:
    """RecipeError if there is no token to join a cluster with."""
    if _elsewhere():
        return
    if not file().exists():
        raise RecipeError(
            f"the cluster at {address} would be joined without a token, so anybody who reaches it could run code there; start it with "
            "RAY_AUTH_MODE=token and give its token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (docs/cluster.md), or say RAY_AUTH_MODE=disabled"
        )
    _shut(file())


def _elsewhere() -> bool:
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled" or bool(os.environ.get("RAY_AUTH_TOKEN"))


def _shut(path: Path) -> None:
    """Remove access to the file for all but its owner."""
    if path.stat().st_mode & 0o077:
        try:
            path.chmod(0o600)
        except OSError as e:
            log.warning("%s: others on this machine can read Ray's token, and it cannot be changed: %s", path, e.strerror)
