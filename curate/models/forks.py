"""Children by fork: one process imports what they need once, and each child then costs milliseconds instead of half a second.

The process that forks has one thread and none of the caller's memory or keys, so its children start clean and are safe to make
while the caller runs threads. It ends with the process that started it.
"""

import contextlib
import importlib
import marshal
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import cache
from typing import NoReturn

#: What a child sees of the environment: what it needs to start, and no keys.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")

#: Bytes of the largest message to the process that forks: a function's name and the paths of modules.
_LONGEST = 1 << 18


class Child:
    """A forked process at the other end of a socket."""

    def __init__(self, server: "_Server", pid: int, pipe: socket.socket):
        self.server, self.pid, self.pipe = server, pid, pipe
        self.input, self.output = pipe.makefile("rb"), pipe.makefile("wb")
        self.status: int | None = None

    def kill(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit status once it has ended; minus the signal that ended it."""
        if self.status is None:
            self.status = self.server.wait(self.pid)
        return self.status

    def close(self) -> None:
        """Close the socket; unsent data is discarded."""
        for end in (self.input, self.output, self.pipe):
            with contextlib.suppress(OSError):
                end.close()


def fork(serve: str, *arguments: object, imports: tuple[str, ...] = ()) -> Child:
    """A new child, which runs `module:function` with a socket and these plain arguments; imports: modules that it finds loaded."""
    try:
        return _server(os.getpid()).fork(serve, arguments, imports)
    except (OSError, EOFError):  # the process that forks was killed: another one takes its place
        _server.cache_clear()
        return _server(os.getpid()).fork(serve, arguments, imports)


@cache
def _server(pid: int) -> "_Server":
    return _Server()


class _Server:
    """The process that forks, as its owner sees it."""

    def __init__(self) -> None:
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        environment = {k: v for k, v in os.environ.items() if k in _KEPT}
        environment |= {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            run = f"from curate.models.forks import run; run({theirs.fileno()})"
            self.process = subprocess.Popen(
                [sys.executable, "-c", run], env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self.turn = threading.Lock()

    def fork(self, serve: str, arguments: tuple, imports: tuple[str, ...]) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask(marshal.dumps((serve, arguments, imports, sys.path)), [theirs.fileno()])
        return Child(self, pid, ours)

    def wait(self, pid: int) -> int:
        try:
            return self._ask(marshal.dumps(pid), [])
        except (OSError, EOFError):
            return -signal.SIGKILL  # the process that forks is gone, and with it what it knew

    def _ask(self, message: bytes, files: list[int]) -> int:
        with self.turn:
            socket.send_fds(self.control, [message], files)
            return marshal.loads(self.control.recv(64))


def run(control: int) -> None:
    """Serve fork requests and report exit statuses until the owner closes its socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # children are ended by their owner
    os.dup2(2, 1)  # nothing printed by a library gets into the owner's output
    with socket.socket(fileno=control) as owner:
        while True:
            message, files, _, _ = socket.recv_fds(owner, _LONGEST, 1)
            if not message:
                return
            asked = marshal.loads(message)
            if isinstance(asked, int):
                owner.send(marshal.dumps(os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1])))
                continue
            serve, arguments, imports, sys.path[:] = asked
            _import(imports)
            pid = os.fork()
            if not pid:
                owner.close()
                _serve(serve, socket.socket(fileno=files[0]), arguments)
            os.close(files[0])
            owner.send(marshal.dumps(pid))


def _import(modules: tuple[str, ...]) -> None:
    """Import modules once, so that no child has to."""
    for module in modules:
        with contextlib.suppress(Exception):  # the child meets it again, and says so
            importlib.import_module(module)


def _serve(serve: str, pipe: socket.socket, arguments: tuple) -> NoReturn:
    module, name = serve.split(":")
    try:
        function: Callable = getattr(importlib.import_module(module), name)
        function(pipe, *arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
