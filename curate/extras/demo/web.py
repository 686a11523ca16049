"""The demo's web on disk, and its servers.

FOLDER/pairs.parquet         url, text, licence, source: a shuffled list, as a crawler writes it
FOLDER/site/<host>/...       the files that the servers serve
FOLDER/faults.json           the servers' faults, by host/path
FOLDER/web.json              hosts, port, seed, and the packages it was made of
FOLDER/truth/truth.parquet   one row for each row of the list; the pipeline never reads this
"""

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from curate.errors import CurateError
from curate.extras.demo import server
from curate.extras.demo.build import CLEAN, HOSTS, LAYOUT, write_web
from curate.extras.demo.pairs import Pair, pairs

#: Ports are tried from here on. The same port gives the same URLs, hence the same uids and the same root hash.
PORT = 18080


class WebError(CurateError):
    """The demo's web cannot be built or served; the message gives the cause in one line."""


@dataclass(frozen=True)
class DemoWeb:
    """A web on disk. `with web.serve(): ...` puts it on the loopback addresses."""

    folder: Path

    @property
    def pairs(self) -> Path:
        """The list of pairs: the pipeline's input."""
        return self.folder / "pairs.parquet"

    @property
    def truth(self) -> Path:
        """The ground truth about each row of the list."""
        return self.folder / "truth" / "truth.parquet"

    @property
    def notes(self) -> dict:
        """web.json: hosts, port, seed, tier, rows, packages with version and sha256, and what was left out and why."""
        return json.loads((self.folder / "web.json").read_text(encoding="utf-8"))

    @property
    def left_out(self) -> dict[str, str]:
        """Packages that were not available, with the reason."""
        return self.notes["left_out"]

    @contextlib.contextmanager
    def serve(self) -> Iterator["Serving"]:
        """Serve it from one child process until the block ends; the child also ends when this process does."""
        notes = self.notes
        command = [sys.executable, server.__file__, str(self.folder)]
        # A session of its own: Ctrl-C goes only to the pipeline, which then leaves this block in order.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:
            try:
                ready, _, _ = select.select([child.stdout], [], [], 60)
                line = child.stdout.readline().decode().strip() if ready else "no answer within 60 s"
                if line != "ready":
                    raise WebError(f"the demo's servers did not start on port {notes['port']}: {line}")
                yield Serving(f"http://{notes['hosts'][0]}:{notes['port']}", child.pid)
            finally:
                child.kill()


@dataclass(frozen=True)
class Serving:
    """The running servers: the first host's address, and the process id."""

    address: str
    pid: int

    def hits(self) -> dict[str, int]:
        """The number of requests for each host/path since the servers started."""
        with urllib.request.urlopen(f"{self.address}/.hits", timeout=10) as answer:
            return json.load(answer)


def build(
    folder: str | Path,
    tier: str = "S",
    seed: int = 0,
    say: Callable[[str], None] = print,
    clean: int | None = None,
    port: int = PORT,
) -> DemoWeb:
    """Build the web of a tier ("T", "S" or "M") in a folder, unless the same one is there.

    `clean` limits its clean pairs; the first free port from `port` on is taken, once for all: URLs name it. Fetches
    packages by name where the cache lacks them. Raises WebError if none of their pictures can be had, or if the folder holds
    something else.
    """
    web = DemoWeb(Path(folder))
    rows, fetched = pairs(tier, say)
    if not rows:
        raise WebError("no pictures: " + "; ".join(f"{name}: {why}" for name, why in fetched.left_out.items()))
    notes = {
        "tier": tier,
        "seed": seed,
        "clean": clean or CLEAN[tier],
        "layout": LAYOUT,
        "hosts": list(HOSTS),
        "packages": fetched.records(),
        "left_out": fetched.left_out,
    }
    if (web.folder / "web.json").exists() and notes.items() <= web.notes.items():
        say(f"the web in {web.folder} is already there")
        return web
    write(web, rows, notes, port)
    say(f"built a web of {web.notes['rows']} rows on {len(HOSTS)} hosts, port {web.notes['port']}, in {web.folder}")
    return web


def write(web: DemoWeb, rows: list[Pair], notes: dict, port: int = PORT) -> None:
    """Build a web from pairs and replace an existing one. notes: the content of web.json, at least `seed`, `clean` and `hosts`."""
    if web.folder.exists() and any(web.folder.iterdir()) and not (web.folder / "web.json").exists():
        raise WebError(f"{web.folder} holds something that is not a demo web")
    port = free_port(port)
    # Built in a temporary folder and renamed, so that a killed build leaves no incomplete web.
    work = DemoWeb(web.folder.with_name(f".{web.folder.name}-{os.getpid()}"))
    work.truth.parent.mkdir(parents=True)
    listed, truth, faults = write_web(work.folder, rows, notes["clean"], notes["seed"], port)
    pq.write_table(listed, work.pairs)
    pq.write_table(truth, work.truth)
    (work.folder / "faults.json").write_text(json.dumps(faults))
    (work.folder / "web.json").write_text(json.dumps({**notes, "port": port, "rows": len(listed)}, indent=1))
    shutil.rmtree(web.folder, ignore_errors=True)
    work.folder.rename(web.folder)


def free_port(first: int = PORT) -> int:
    """The first port from `first` on that is free on every host. Raises WebError if there is none, as where loopback has only one
    address."""
    reason: OSError | None = None
    for port in range(first, first + 200):
        try:
            with contextlib.ExitStack() as stack:
                for host in HOSTS:
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
            return port
        except OSError as e:
            reason = e
    raise WebError(f"no free port from {first} on at {HOSTS[0]} to {HOSTS[-1]}: {reason}")
