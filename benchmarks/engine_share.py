"""Tokens a second of whole runs as a share of the engine's own, with a stand-in engine of fixed speed, on both engines of curate.

    python -m benchmarks.engine_share [--requests 4000] [--slots 32] [--seconds 0.3]

The stand-in is a server in a process of its own that works on `slots` requests at a time, each for about `seconds` (drawn by a hash of
the prompt, from half to one and a half of it), and answers 100 tokens. Its own speed is that of a bare loop which always has `slots`
requests under way. A run goes through the list's ingest, the start of its workers, its captions, their commits and the ledger; only the start
of Ray itself is left out. `at work`: from the first request to the last answer, as the server saw it.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web

import curate
from curate.recipe import Recipe
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Rewrite
from curate.synth.captioners.endpoint import Endpoint

TOKENS = 100


def serve(pipe: Any, slots: int, seconds: float) -> None:
    """The stand-in: its port goes into the pipe."""
    room, seen = asyncio.Semaphore(slots), {"first": 0.0, "last": 0.0, "answers": 0}

    async def chat(request: web.Request) -> web.Response:
        asked = await request.json()
        prompt = asked["messages"][0]["content"][0]["text"]
        seen["first"] = seen["first"] or time.monotonic()
        async with room:
            await asyncio.sleep(seconds * (0.5 + hashlib.sha256(prompt.encode()).digest()[0] / 255))
        seen["last"], seen["answers"] = time.monotonic(), seen["answers"] + 1
        choice = {"message": {"content": f"said {prompt}"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": TOKENS}})

    async def stats(_: web.Request) -> web.Response:
        found = dict(seen)
        seen.update(first=0.0, last=0.0, answers=0)
        return web.json_response(found)

    async def start() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", chat), web.get("/stats", stats)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(site._server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(start())


async def bare(url: str, prompts: Iterable[str], slots: int) -> float:
    """Seconds of a loop that has `slots` requests under way until there are no more."""
    left = iter(prompts)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for prompt in left:
                body = {"messages": [{"content": [{"type": "text", "text": prompt}]}]}
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    await answer.read()

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(slots)))
        return time.monotonic() - began


def seen(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/stats") as answer:
        return json.load(answer)


def whole(url: str, count: int, slots: int, engine: str, folder: Path) -> tuple[float, float]:
    """Answers a second of a whole run, and while the server was at work."""
    os.environ["CURATE_CACHE"] = str(folder / "kept")
    file = folder / "pairs.parquet"
    rows = {"url": [f"http://a.example/{i}" for i in range(count)], "text": [f"text {i}" for i in range(count)]}
    pq.write_table(pa.table(rows), file)
    stage = Rewrite(Endpoint("m", url=f"{url}/v1", at_once=slots), prompt="say {text}", name="said")
    recipe = Recipe(UrlPairs(str(file), url="url", text="text"), score=[stage], shards=None, name="share")
    if engine == "ray":
        curate.run(recipe, str(folder / "run"), engine, workers=2, part_size=count // 4)
    else:
        curate.run(recipe, str(folder / "run"), engine, part_size=count // 4)
    record = json.loads((folder / "run" / "recipe.json").read_text())
    found = seen(url)
    return found["answers"] / record["seconds"], found["answers"] / (found["last"] - found["first"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    how = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there, how.slots, how.seconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}"
    own = how.requests / asyncio.run(bare(url, (f"say text {i}" for i in range(how.requests)), how.slots))
    seen(url)
    print(f"the engine's own: {own * TOKENS:,.0f} tokens/s, {own:.1f} answers/s", flush=True)
    for engine in how.engines:
        with tempfile.TemporaryDirectory() as folder:
            run, work = whole(url, how.requests, how.slots, engine, Path(folder))
        print(f"{engine}: whole run {run * TOKENS:,.0f} tokens/s; at work {work * TOKENS:,.0f} tokens/s", flush=True)
        print(f"ratio engine share, {engine}, whole run: {run / own:.3f}; at work: {work / own:.3f}", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
