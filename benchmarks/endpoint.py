"""The endpoint client against a server that misbehaves: what became of each request, how often it was asked, what a rerun asks, and
how memory grew.

    python -m benchmarks.endpoint [--requests 600] [--faults 0.6]
    python -m benchmarks.endpoint --killed --requests 100000 --faults 0.06

The server, on loopback, gives each request its own script, drawn by a hash of the prompt: a right answer at once, or (a share of
`faults`) first one or two of 429, 500, 503, a closed connection, an answer that is late, cut short or not JSON; or (a sixth of that
share) for ever a refusal, a filtered answer, 400 or an answer of the wrong shape. A right answer repeats the prompt, so that an answer
given to the wrong request is seen.

The first form asks the client alone, and again with the answers that it kept. With `--killed` the requests are the rows of a whole run on
the local engine, which is ended by SIGKILL when half of them were asked, loses the answers that the client kept, and is started again:
only what the run had committed is not asked again.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web

import curate
from curate.recipe import Recipe
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Rewrite
from curate.synth.captioners import Decoding, PendingRequest, RequestLoop
from curate.synth.captioners import endpoint as client
from curate.synth.captioners.endpoint import Endpoint

PASSING = ("429", "500", "503", "closed", "late", "cut short", "not JSON")
#: What is the end of a request, with the `finish` of its row; an answer without a text is one, and is paid once.
LASTING = {"refusal": "refused", "filtered": "moderated", "400": "rejected", "wrong shape": "empty"}
#: Seconds that an attempt may take, and that a late answer does.
TIMEOUT, LATE = 0.5, 1.0
#: Rows of a part of the whole run, and seconds between two looks at it.
PART, POLL = 20_000, 0.1


@cache
def script(prompt: str, faults: float) -> tuple[str, ...]:
    """What a request meets, one attempt after another; the last is its end."""
    chance = hashlib.sha256(prompt.encode()).digest()
    drawn = int.from_bytes(chance[4:8]) / 2**32
    if drawn < faults:
        return (*(PASSING[n % len(PASSING)] for n in chance[2 : 3 + chance[3] % 2]), "good")
    return ("good",) if drawn >= faults * 7 / 6 else (list(LASTING)[chance[1] % len(LASTING)],)


class Server:
    """The server, in a thread of this process. seen: how often each prompt was asked; met: how often each step was."""

    def __init__(self, faults: float):
        self.faults, self.seen, self.met = faults, Counter[str](), Counter[str]()
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(self._start(), loop).result()}/v1"

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
        return runner.addresses[0][1]

    def forget(self) -> None:
        self.seen, self.met = Counter(), Counter()

    @property
    def again(self) -> int:
        """Requests that came after their prompt had its end."""
        return sum(max(0, n - len(script(p, self.faults))) for p, n in self.seen.items())

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        prompt = asked["messages"][0]["content"][-1]["text"]
        steps = script(prompt, self.faults)
        step = steps[min(self.seen[prompt], len(steps) - 1)]
        self.seen[prompt] += 1
        self.met[step] += 1
        if step == "closed":
            request.transport.abort()
        if step == "late":
            await asyncio.sleep(LATE)
        data = body(step, prompt)
        answer = web.StreamResponse(status=int(step) if step.isdigit() else 200)
        answer.content_length = len(data) + (1000 if step == "cut short" else 0)
        with contextlib.suppress(ConnectionError):  # clients that hang up are part of it
            await answer.prepare(request)
            await answer.write(data)
            if step == "cut short":
                request.transport.close()
        return answer


def body(step: str, prompt: str) -> bytes:
    """What the server says at a step."""
    choice = {"message": {"content": f"said: {prompt}"}, "finish_reason": "stop"}
    if step == "refusal":
        choice["message"] = {"content": None, "refusal": "I cannot help with this"}
    elif step == "filtered":
        choice = {"message": {"content": ""}, "finish_reason": "content_filter"}
    data = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 5}}).encode()
    return {"not JSON": b"<html>busy", "wrong shape": b'{"choices": [{"message": {}}]}'}.get(step, data)


def right(text: str | None, finish: str, prompt: str, faults: float) -> bool:
    """Whether a request ended as its script says."""
    last = script(prompt, faults)[-1]
    return (text, finish) == ((f"said: {prompt}", "stop") if last == "good" else (None, LASTING[last]))


def resident(pid: int) -> float:
    """MB of memory that a process has; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def endpoint(url: str, kept: str) -> Endpoint:
    """The client, in a child: pauses between attempts are cut short, or this would take half an hour."""
    logging.disable()
    client.PAUSE = 0.05
    return Endpoint("m", url=url, timeout=TIMEOUT, attempts=8, cache=kept)


def ask(pipe: Any, url: str, kept: str, count: int, faults: float) -> None:
    """The client alone: sends how requests ended, and how many otherwise than they should."""
    writer, ends, wrong = endpoint(url, kept), Counter[str](), 0
    writer.load()
    with RequestLoop(writer, Decoding()) as asking:
        for got in asking.answers(PendingRequest(f"say {i}", (f"say {i}",), 0) for i in range(count)):
            ends[got.answer.finish] += 1
            wrong += not right(got.answer.text, got.answer.finish, got.key, faults)
    pipe.send((ends, wrong))


def whole(pipe: Any, url: str, kept: str, count: int, faults: float, folder: str) -> None:
    """A whole run, whose rows are the requests: sends the same."""
    pairs = Path(folder, "pairs.parquet")
    rows = {"url": [f"http://a.example/{i}" for i in range(count)], "text": [str(i) for i in range(count)]}
    pq.write_table(pa.table(rows), pairs)
    stage = Rewrite(endpoint(url, kept), prompt="say {text}", name="said")
    recipe = Recipe(UrlPairs(str(pairs), url="url", text="text"), score=[stage], shards=None, name="endpoint")
    made = curate.run(recipe, f"{folder}/run", "local", part_size=PART)
    found = made.sql("select text, caption_said, caption_said_made.finish from images").fetchall()
    wrong = sum(not right(said, finish, f"say {text}", faults) for text, said, finish in found)
    pipe.send((Counter(finish for _, _, finish in found), wrong))


def watched(
    server: Server, count: int, target: Callable[..., None], *how: Any, until: float = 1.0
) -> tuple[tuple[Counter[str], int] | None, list[float]]:
    """Run `target` in a process of its own, which is killed when this share of all prompts was asked. What it sends, and its MB of
    memory at each eighth of the prompts."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(there, *how))
    child.start()
    memory: dict[int, float] = {}
    while child.is_alive() and not here.poll(POLL):
        memory.setdefault(8 * len(server.seen) // count, resident(child.pid or 0))
        if until < 1 and len(server.seen) >= until * count:
            child.kill()
    found = here.recv() if here.poll() else None
    child.join()
    return found, list(memory.values())


def report(what: str, server: Server, count: int, found: tuple[Counter[str], int] | None, memory: list[float]) -> None:
    print(
        f"{what}: {server.met.total()} attempts for {len(server.seen)} of {count} requests; asked after an end: {server.again}"
    )
    if found:
        ends, wrong = found
        print(
            f"  {', '.join(f'{k} {n}' for k, n in ends.most_common())}; without an end: {count - ends.total()}; wrong: {wrong}"
        )
    print("  met: " + ", ".join(f"{k} {n}" for k, n in server.met.most_common()))
    print("  MB of the client, by eighths: " + ", ".join(f"{m:.0f}" for m in memory), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--faults", type=float, default=0.6, help="share of the requests that meet faults which pass")
    parser.add_argument("--killed", action="store_true", help="a whole run, killed in the middle and started again")
    how = parser.parse_args()
    server, began = Server(how.faults), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if how.killed:
            for what, until in (("until it was killed", 0.5), ("both", 1.0)):
                given = (server.url, f"{folder}/kept {until}", how.requests, how.faults, folder)
                report(what, server, how.requests, *watched(server, how.requests, whole, *given, until=until))
        else:
            for what in ("first run", "again"):
                server.forget()
                given = (server.url, f"{folder}/kept", how.requests, how.faults)
                report(what, server, how.requests, *watched(server, how.requests, ask, *given))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
