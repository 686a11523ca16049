"""Tokens a second of whole runs as a share of the engine's own, with a stand-in engine of fixed speed or a real server, on both engines
of curate.

    python -m benchmarks.engine_share [--requests 4000] [--slots 32] [--seconds 0.3]
    python -m benchmarks.engine_share --server http://127.0.0.1:8000/v1#MODEL --requests 60 --slots 4

The stand-in is a server in a process of its own that works on `slots` requests at a time, each for about `seconds` (drawn by a hash of
the prompt, from half to one and a half of it), and answers 100 tokens. Its own speed is that of a bare loop which always has `slots`
requests under way; the loop's requests are those of a run, of other rows. A run goes through the list's ingest, the start of its workers,
its captions, their commits and the ledger; only the start of Ray itself is left out. `at work`: from the first request to the last answer,
as the stand-in saw it. tests/synth/llama_server.py is a real server with a small language model: it prints its address.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
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
from curate.synth.captioners import Decoding, Request
from curate.synth.captioners.endpoint import Endpoint

TOKENS = 100
#: What is asked, with the number of a row, and how.
ABOUT, DECODING = "Write a caption of one sentence for picture number", Decoding(max_tokens=32)


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


async def bare(by: Endpoint, prompts: Iterable[str], slots: int) -> float:
    """Tokens a second of a loop that has `slots` requests under way until there are no more."""
    left, tokens = iter(prompts), [0]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for prompt in left:
                body = by.body(Request((prompt,)), DECODING)
                async with session.post(f"{by.url}/chat/completions", json=body) as answer:
                    tokens[0] += (await answer.json())["usage"]["completion_tokens"]

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(slots)))
        return tokens[0] / (time.monotonic() - began)


def seen(url: str) -> dict[str, float]:
    """When the stand-in was asked first and answered last, and how often, since this was asked for last."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
        return json.load(answer)


def whole(by: Endpoint, count: int, engine: str, folder: Path) -> tuple[float, int]:
    """Tokens a second of a whole run, and all its tokens."""
    os.environ["CURATE_CACHE"] = str(folder / "kept")
    file = folder / "pairs.parquet"
    rows = {"url": [f"http://a.example/{i}" for i in range(count)], "text": [str(i) for i in range(count)]}
    pq.write_table(pa.table(rows), file)
    stage = Rewrite(by, prompt=f"{ABOUT} {{text}}", decoding=DECODING, name="said")
    recipe = Recipe(UrlPairs(str(file), url="url", text="text"), score=[stage], shards=None, name="share")
    workers = 2 if engine == "ray" else None
    made = curate.run(recipe, str(folder / "run"), engine, workers=workers, part_size=count // 4)
    ((tokens,),) = made.sql("select sum(caption_said_made.tokens)::bigint from images").fetchall()
    return tokens / made.recipe["seconds"], tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    parser.add_argument("--server", default="", help="URL#MODEL of a server that is measured instead of the stand-in")
    how = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url, _, model = (how.server or stack.enter_context(stand_in(how.slots, how.seconds))).partition("#")
        by = Endpoint(model or "m", url=url, at_once=how.slots)
        own = asyncio.run(bare(by, (f"{ABOUT} {i}" for i in range(how.requests, 2 * how.requests)), how.slots))
        print(f"the engine's own: {own:,.0f} tokens/s", flush=True)
        for engine in how.engines:
            how.server or seen(url)
            with tempfile.TemporaryDirectory() as folder:
                run, tokens = whole(by, how.requests, engine, Path(folder))
            ratio = f"ratio engine share, {engine}, whole run: {run / own:.3f}"
            if not how.server:
                found = seen(url)
                ratio += f"; at work: {tokens / (found['last'] - found['first']) / own:.3f}"
            print(f"{engine}: whole run {run:,.0f} tokens/s\n{ratio}", flush=True)


@contextlib.contextmanager
def stand_in(slots: int, seconds: float) -> Iterator[str]:
    """The stand-in in a process of its own; its URL."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there, slots, seconds), daemon=True)
    server.start()
    yield f"http://127.0.0.1:{here.recv()}/v1"
    server.terminate()


if __name__ == "__main__":
    main()
