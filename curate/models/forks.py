"""A fork server: one process imports modules once and forks children, in milliseconds instead of half a second each.

The server has one thread and none of the caller's memory or credentials, so forking is safe while the caller runs threads. It ends
with the process that started it.
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

#: Environment variables passed to children: what they need to start, no credentials.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")

#: Bytes of the largest message to the server: a function's name and the paths of modules.
_MAX_MESSAGE = 1 << 18


class Child:
    """A child process, connected by a socket."""

    def __init__(self, server: "_ForkServer", pid: int, pipe: socket.socket):
        self.server, self.pid, self.pipe = server, pid, pipe
        self.input, self.output = pipe.makefile("rb"), pipe.makefile("wb")
        self.status: int | None = None

    def kill(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        if self.status is None:
            self.status = self.server.wait(self.pid)
        return self.status

    def close(self) -> None:
        """Close the socket; unsent data is discarded."""
        for end in (self.input, self.output, self.pipe):
            with contextlib.suppress(OSError):
                end.close()


def fork(serve: str, *arguments: object, imports: tuple[str, ...] = ()) -> Child:
    """Start a child that runs `module:function` with a socket and these plain arguments; imports: modules that the server has loaded."""
    try:
        return _server(os.getpid()).fork(serve, arguments, imports)
    except (OSError, EOFError):  # the server was killed: start another one
        _server.cache_clear()
        return _server(os.getpid()).fork(serve, arguments, imports)


@cache
def _server(pid: int) -> "_ForkServer":
    return _ForkServer()


class _ForkServer:
    """The fork server, from its owner's side."""

    def __init__(self) -> None:
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        environment = {k: v for k, v in os.environ.items() if k in _ENVIRONMENT}
        environment |= {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            run = f"from curate.models.forks import run; run({theirs.fileno()})"
            self.process = subprocess.Popen(
                [sys.executable, "-c", run], env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self.lock = threading.Lock()

    def fork(self, serve: str, arguments: tuple, imports: tuple[str, ...]) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._request(marshal.dumps((serve, arguments, imports, sys.path)), [theirs.fileno()])
        return Child(self, pid, ours)

    def wait(self, pid: int) -> int:
        try:
            return self._request(marshal.dumps(pid), [])
        except (OSError, EOFError):
            return -signal.SIGKILL  # the server is gone, and with it the child's exit status

    def _request(self, message: bytes, files: list[int]) -> int:
        with self.lock:
            socket.send_fds(self.control, [message], files)
            return marshal.loads(self.control.recv(64))


def run(control: int) -> None:
    """Serve fork requests and report exit statuses until the owner closes its socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner ends the children
    os.dup2(2, 1)  # keep libraries' prints out of the owner's output
    with socket.socket(fileno=control) as owner:
        while True:
            message, files, _, _ = socket.recv_fds(owner, _MAX_MESSAGE, 1)
            if not message:
                return
            request = marshal.loads(message)
            if isinstance(request, int):
                owner.send(marshal.dumps(os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])))
                continue
            serve, arguments, imports, sys.path[:] = request
            _import(imports)
            pid = os.fork()
            if not pid:
                owner.close()
                _serve(serve, socket.socket(fileno=files[0]), arguments)
            os.close(files[0])
            owner.send(marshal.dumps(pid))


def _import(modules: tuple[str, ...]) -> None:
    """Import modules in the server, so that no child has to."""
    for module in modules:
        with contextlib.suppress(Exception):  # raised again in the child, which reports it
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
