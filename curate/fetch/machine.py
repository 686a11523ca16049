"""Limits of this machine: files, sockets, ports, memory, disk. Meeting one is never the fault of a URL."""

import errno
import functools
import ipaddress
import logging
import os
import resource
import socket

from curate.errors import CurateError

log = logging.getLogger(__name__)

#: Files that a process keeps open besides those of requests: the store's, the decoder's pipes, libraries.
RESERVE = 24
#: Files that a request may have open: its connection, one that is kept for the next request, the look-up of its name.
EACH = 3

#: What to do about each error.
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
#: Addresses that a machine with a network has a route to. Nothing is sent there: they are for documentation.
_ELSEWHERE = ("192.0.2.1", "2001:db8::1")


class MachineLimit(CurateError):
    """A limit of this machine stopped the work: says which, and what to do. The rows at work have no outcome."""


def machine_limit(error: BaseException, address: str | None = None) -> MachineLimit | None:
    """The limit that an error of the system stands for, or None if the other side may be its cause.

    address: where a connection was to go. On a machine without IPv6 such a connection fails like one without a port or a route.
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
    """Whether this machine has a route to anywhere."""
    return any(map(reachable, _ELSEWHERE))


def reachable(address: str) -> bool:
    """Whether this machine has a route to an address, and an address of its own to ask from. Nothing is sent."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((address, 9))
    except OSError as e:
        return e.errno in (errno.EMFILE, errno.ENFILE)  # then it is not known
    return True


def fitting(concurrency: int) -> int:
    """As many requests at a time as the files allow that this process may open; the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as e:
            log.info("the limit of open files stays at %d: %s", soft, e)
    if soft == resource.RLIM_INFINITY:
        return concurrency
    fits = max(1, min(concurrency, (soft - len(os.listdir("/dev/fd")) - RESERVE) // EACH))
    if fits < concurrency:
        _warn(concurrency, soft)
    return fits


@functools.cache
def _warn(concurrency: int, limit: int) -> None:
    """Said once, not for each part."""
    log.warning("fewer than %d requests at a time: this process may open no more than %d files (ulimit -n)", concurrency, limit)
