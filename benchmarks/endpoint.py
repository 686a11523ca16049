"""The endpoint client against a server that misbehaves: what became of each request, how often it was asked, what a rerun asks, and
how memory grew.

    python -m benchmarks.endpoint [--requests 600]

The server, on loopback, gives each request its own script, drawn by a hash of the prompt: a right answer at once, or first one or two of
429, 500, 503, a closed connection, an answer that is late, cut short, not JSON or of the wrong shape; or for ever a refusal, a filtered
answer, or 400. A right answer repeats the prompt, so that an answer given to the wrong request is seen.
"""

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from curate.synth.captioners import Answer, Asking, Decoding, Wanted
from curate.synth.captioners import endpoint as client
from curate.synth.captioners.endpoint import Endpoint

PASSING = ("429", "500", "503", "closed", "late", "cut short", "not JSON")
#: What is the end of a request, with the `finish` of its row; an answer without a text is one, and is paid once.
LASTING = {"refusal": "refused", "filtered": "moderated", "400": "rejected", "wrong shape": "empty"}
#: Seconds that an attempt may take, and that a late answer does.
TIMEOUT, LATE = 0.5, 1.0


def script(prompt: str) -> list[str]:
    """What a request meets: of ten, three nothing, six faults that pass, one a fault that lasts."""
    chance = hashlib.sha256(prompt.encode()).digest()
    if chance[0] % 10 < 3:
        return ["good"]
    if chance[0] % 10 == 9:
        return [list(LASTING)[chance[1] % len(LASTING)]]
    return [PASSING[n % len(PASSING)] for n in chance[2 : 3 + chance[3] % 2]] + ["good"]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.met, self.lock = Counter(), Counter(), threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_) -> None:
        """Clients that hang up are part of it."""

    def turn(self, prompt: str) -> str:
        with self.lock:
            steps = script(prompt)
            step = steps[min(self.seen[prompt], len(steps) - 1)]
            self.seen[prompt] += 1
            self.met[step] += 1
        return step


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][0]["content"][-1]["text"]
        step = self.server.turn(prompt)
        choice = {"message": {"content": f"said: {prompt}"}, "finish_reason": "stop"}
        if step == "refusal":
            choice["message"] = {"content": None, "refusal": "I cannot help with this"}
        elif step == "filtered":
            choice = {"message": {"content": ""}, "finish_reason": "content_filter"}
        data = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 5}}).encode()
        if step == "closed":
            self.connection.close()
            return
        if step == "late":
            time.sleep(LATE)
        data = {"not JSON": b"<html>busy", "wrong shape": b'{"choices": [{"message": {}}]}'}.get(step, data)
        self.send_response(int(step) if step.isdigit() else 200)
        self.send_header("Content-Length", str(len(data) + (1000 if step == "cut short" else 0)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        """Quiet."""


def right(answer: Answer, prompt: str) -> bool:
    """Whether a request ended as its script says."""
    last = script(prompt)[-1]
    if last == "good":
        return (answer.text, answer.finish) == (f"said: {prompt}", "stop")
    return answer.text is None and answer.finish == LASTING[last]


def resident() -> float:
    """MB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def ask(pipe: Any, url: str, count: int, folder: str) -> None:
    """The client, in a process of its own: how requests ended, how many otherwise than they should, and its memory on the way."""
    logging.disable()
    client.PAUSE = 0.05  # pauses between attempts are cut short, or this would take half an hour
    writer = Endpoint("m", url=url, timeout=TIMEOUT, attempts=8, cache=folder)
    writer.load()
    ends, wrong, memory = Counter(), 0, []
    with Asking(writer, Decoding()) as asking:
        for n, got in enumerate(asking.answers(Wanted(f"picture {i}", (f"picture {i}",), 0) for i in range(count))):
            ends[got.answer.finish] += 1
            wrong += not right(got.answer, got.key)
            if n % max(1, count // 8) == 0:
                memory.append(resident())
    pipe.send((ends, wrong, memory))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600)
    count = parser.parse_args().requests
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        for what in ("first run", "again"):
            server.seen, server.met = Counter(), Counter()
            here, there = multiprocessing.Pipe()
            how = (there, f"http://127.0.0.1:{server.server_port}/v1", count, folder)
            child = multiprocessing.get_context("spawn").Process(target=ask, args=how)
            child.start()
            ends, wrong, memory = here.recv()
            child.join()
            often = sum(n > len(script(p)) for p, n in server.seen.items())
            print(
                f"{what}: {count} requests, {server.met.total()} attempts; {', '.join(f'{k} {n}' for k, n in ends.most_common())}; "
                f"without an end: {count - ends.total()}; ended otherwise than they should: {wrong}; asked after an answer: {often}"
            )
            print("  met: " + ", ".join(f"{k} {n}" for k, n in server.met.most_common()))
            print("  MB of the client, by eighths: " + ", ".join(f"{m:.0f}" for m in memory), flush=True)
    server.shutdown()


if __name__ == "__main__":
    main()
