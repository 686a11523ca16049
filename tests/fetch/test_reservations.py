"""Reservations of text and data mining at well-known places: what they forbid is an opt-out, what is not there forbids nothing."""

import asyncio
from types import SimpleNamespace

import pytest

from curate.fetch.courtesy import Reservations
from curate.fetch.failure import Failed
from curate.fetch.url import Target

TDM = b'[{"location": "/free/*", "tdm-reservation": 0}, {"location": "/*", "tdm-reservation": 1, "tdm-policy": "https://x"}]'
AI = b"# Spawning AI\nUser-Agent: *\nDisallow: *.jpg$\n"


def outcomes(files: dict[str, bytes], *paths: str) -> list[str]:
    """What becomes of requests for paths of a host with these files."""
    asked: list[str] = []

    async def get(target: Target):
        asked.append(target.path)
        if target.path not in files:
            raise Failed("http_404", "", 404)
        return SimpleNamespace(body=files[target.path], get_all=lambda _: [])

    async def check() -> list[str]:
        policy, found = Reservations(get, "curate"), []
        for path in paths:
            try:
                await policy.check(Target("http", "a.example", 80, path))
                found.append("ok")
            except Failed as e:
                found.append(e.outcome)
        policy.close()
        return found

    found = asyncio.run(check())
    assert sorted(asked) == ["/.well-known/tdmrep.json", "/ai.txt"]  # once for an origin
    return found


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"/.well-known/tdmrep.json": TDM}, ["opt_out", "ok", "opt_out"]),
        ({"/ai.txt": AI}, ["opt_out", "opt_out", "ok"]),
        ({"/ai.txt": AI, "/.well-known/tdmrep.json": TDM}, ["opt_out", "opt_out", "opt_out"]),
        ({"/ai.txt": b"\0\1\2", "/.well-known/tdmrep.json": b"<html>no such page"}, ["ok", "ok", "ok"]),
        ({"/.well-known/tdmrep.json": b'{"location": "/"}', "/ai.txt": b"<html>not here</html>"}, ["ok", "ok", "ok"]),
    ],
)
def test_reservations(files, wanted):
    assert outcomes(files, "/a.jpg", "/free/b.jpg", "/c.png") == wanted
