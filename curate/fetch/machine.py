"""Resource limits of this machine (files, sockets, ports, memory, disk), distinguished from failures of a URL."""

import errno
import functools
import ipaddress
import logging
import os
import resource
import socket

from curate.errors import CurateError

log = logging.getLogger(__name__)

#: File descriptors of a process that are not for requests: the store's, the decoder's pipes, libraries.
RESERVED_FILES = 24
#: File descriptors of a request: its connection, an idle connection, the look-up of its name.
FILES_PER_REQUEST = 3

#: Cause and remedy for each errno.
_ADVICE = {
    errno.EMFILE: "this process may open no more files: raise `ulimit -n`, or lower the concurrency",
    errno.ENFILE: "this machine may open no more files: raise the kernel's fs.file-max, or run fewer workers",
    errno.ENOBUFS: "the kernel has no room for another socket: lower the concurrency, or run fewer workers",
    errno.ENOMEM: "the machine has no more memory: lower the concurrency, or run fewer workers",
    errno.EADDRNOTAVAIL: "no local port is free: lower the concurrency, or widen net.ipv4.ip_local_port_range",
    errno.ENETDOWN: "the network of this machine is down",
    errno.ENETUNREACH: "this machine has no route to the network",
    errno.ENOSPC: "the disk is full: free some of it, or point TMPDIR and the run's folder to another one",
    errno.EDQUOT: "the disk quota is used up: free some of it, or point TMPDIR and the run's folder elsewhere",
}
#: Addresses reserved for documentation, to test whether there is a route. Nothing is sent to them.
_TEST_ADDRESSES = ("192.0.2.1", "2001:db8::1")


class MachineLimit(CurateError):
    """A resource limit of this machine stopped the work; the message names it and the remedy. Rows in progress have no outcome."""


def machine_limit(error: BaseException, address: str | None = None) -> MachineLimit | None:
    """The MachineLimit that an exception means, or None if the remote side may be its cause.

    address: of the attempted connection. Without IPv6 a connection to an IPv6 address fails like one without a free port or a route.
    """
    if isinstance(error, MachineLimit):
        return error
    if isinstance(error, MemoryError):
        return MachineLimit(f"{_ADVICE[errno.ENOMEM]} (MemoryError)")
    if isinstance(error, RuntimeError) and "new thread" in str(error):
        return MachineLimit(f"this process may start no more threads: raise `ulimit -u`, or run fewer workers ({error})")
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    if number not in _ADVICE:
        return None
    if number == errno.EADDRNOTAVAIL and not (address and reachable(address)):
        number = errno.ENETUNREACH
    if number in (errno.ENETUNREACH, errno.ENETDOWN) and online():
        return None
    where = f": {error.filename}" if error.filename else ""
    return MachineLimit(f"{_ADVICE[number]} ({errno.errorcode[number]}: {os.strerror(number)}{where})")


def online() -> bool:
    """Whether this machine has a route to the internet."""
    return any(map(reachable, _TEST_ADDRESSES))


def reachable(address: str) -> bool:
    """Whether this machine has a route to an address, and a source address for it. Nothing is sent."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((address, 9))
    except OSError as e:
        return e.errno in (errno.EMFILE, errno.ENFILE)  # unknown: the socket itself could not be made
    return True


def fit_concurrency(concurrency: int) -> int:
    """The concurrency, lowered to what the limit on open files allows; raises the soft limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as e:
            log.info("the limit of open files stays at %d: %s", soft, e)
    if soft == resource.RLIM_INFINITY:
        return concurrency
    fits = max(1, min(concurrency, (soft - len(os.listdir("/dev/fd")) - RESERVED_FILES) // FILES_PER_REQUEST))
    if fits < concurrency:
        _warn_once(concurrency, soft)
    return fits


@functools.cache
def _warn_once(concurrency: int, limit: int) -> None:
    """Log the reduced concurrency, once a process."""
    log.warning(
        "fewer than %d concurrent requests: this process may open no more than %d files (ulimit -n)", concurrency, limit
    )
