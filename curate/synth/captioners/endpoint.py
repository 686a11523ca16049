"""Captioners and rewriters behind an OpenAI-compatible endpoint: asked politely, paid once, remembered."""

import base64
import hashlib
import http.client
import io
import json
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from curate.errors import CurateError, RecipeError
from curate.synth.captioners.base import Answer, Decoding, Request, Seen, Writer
from curate.synth.captioners.decode import chance
from curate.synth.captioners.hugging import smaller
from curate.web.headers import retry_after
from curate.web.url import split

log = logging.getLogger(__name__)

#: The longest answer that is read, bytes.
LONGEST = 8 << 20
#: The longest pause between two attempts, seconds.
PAUSE = 60.0
#: Answers that concern this request alone: the picture, or what it asks, is not taken.
REJECTED = {400, 413, 415, 422}


class Unavailable(CurateError):
    """The endpoint did not answer, after all retries; the part is tried again later, and what it had answered is remembered."""


class Again(Exception):
    """An attempt that may succeed if repeated. `after`: seconds that the server wants to be left alone."""

    def __init__(self, cause: str, after: float = 0.0):
        super().__init__(cause)
        self.after = after


def beyond(decoding: Decoding) -> tuple[tuple[str, float, float], ...]:
    """What OpenAI's API lacks and other servers take, as vLLM and SGLang name it: name, value, the value that changes nothing."""
    return (
        ("top_k", decoding.top_k, 0),
        ("min_tokens", max(decoding.min_tokens, 1), 1),
        ("repetition_penalty", decoding.repetition, 1.0),
    )


@dataclass
class Endpoint(Writer):
    """`POST {url}/chat/completions`: any OpenAI-compatible server. Answers are kept in `cache` by the hash of the request.

    url: up to and with `/v1`. key: the environment variable that holds the API key (a key never goes into a recipe).
    at_once: requests in flight in one worker. a_minute: at most so many requests a minute and worker (0: no limit).
    timeout: seconds for one attempt, from connecting to the last byte. attempts: at most so many for one request; after 408,
    409, 429, 5xx, a broken or late answer, with pauses of 1, 2, 4 ... seconds or what `Retry-After` says.
    price_in, price_out: of a million tokens; `cost` in a caption's record is made of them.
    cache: a folder; by default `$CURATE_CACHE/answers`; "" where that is not set: nothing is remembered.
    largest, quality: pictures are sent as JPEG with this longer side at most, in pixels, in this quality.
    """

    engine = "openai-compatible"
    gpus = 0
    network = True
    batch = 256
    free = ("at_once", "a_minute", "timeout", "attempts", "price_in", "price_out", "cache", "key", "url")

    url: str = "http://127.0.0.1:8000/v1"
    key: str = "OPENAI_API_KEY"
    at_once: int = 16
    a_minute: float = 0.0
    timeout: float = 120.0
    attempts: int = 6
    price_in: float = 0.0
    price_out: float = 0.0
    cache: str = ""
    largest: int = 1024
    quality: int = 90

    def __post_init__(self):
        try:
            web = split(self.url).scheme in ("http", "https")
        except ValueError:
            web = False
        if not web:
            raise RecipeError(f"endpoint {self.url}: not a URL that begins with http:// or https://")

    def preflight(self) -> None:
        parts = urlsplit(self.url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        try:
            socket.create_connection((parts.hostname, port), timeout=10).close()
        except OSError as e:
            raise RecipeError(f"endpoint {self.url}: nobody answers there ({e.strerror or e}): start the server first") from e

    def load(self) -> None:
        home = os.environ.get("CURATE_CACHE")
        self._cache = Path(self.cache) if self.cache else Path(home) / "answers" if home else None
        self._pace, self._rejected, self._taken = Pace(self.a_minute), 0, 0

    def prepare(self, image: np.ndarray) -> Seen:
        from PIL import Image

        picture, out = Image.fromarray(smaller(image, self.largest)), io.BytesIO()
        picture.save(out, "JPEG", quality=self.quality)
        return Seen(out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest(), picture.width, picture.height)

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        if decoding.beams > 1:
            raise RecipeError("Endpoint draws; for beam search take Coca, ImageToText or ChatVlm")
        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = [pool.submit(self.ask, self.body(r, decoding)) for r in requests]
            try:
                return [w.result() for w in waiting]
            except CurateError:
                pool.shutdown(cancel_futures=True)
                raise

    def body(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        """The request as JSON."""
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        if request.seen is not None:
            url = "data:image/jpeg;base64," + base64.b64encode(request.seen.data).decode()
            content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
            "seed": request.seed,
            **{name: asked for name, asked, neutral in beyond(decoding) if asked != neutral},
        }

    def ask(self, body: dict[str, Any]) -> Answer:
        """The answer to one request, remembered or new."""
        data = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        hashed = hashlib.sha256(data).hexdigest()
        file = self._cache / hashed[:2] / f"{hashed}.json" if self._cache else None
        if file and file.exists():
            self._taken += 1  # the server takes such requests: rejected ones are single ones
            return self._answer(json.loads(file.read_bytes()))
        for attempt in range(self.attempts):
            self._pace.wait()
            try:
                found = self._post(data)
                break
            except Again as e:
                cause = e
                if attempt + 1 < self.attempts:
                    spread = 0.5 + chance(int(hashed[:15], 16), attempt)  # so that many workers do not come back together
                    sleep(min(PAUSE, max(e.after, 2.0**attempt * spread)))
        else:
            raise Unavailable(f"{self.url}: no answer after {self.attempts} attempts: {cause}") from cause
        if found is None:
            return Answer(None, "rejected")
        answer = self._answer(found)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            work = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            work.write_bytes(json.dumps(found).encode())
            work.replace(file)
        return answer

    def _post(self, data: bytes) -> dict[str, Any] | None:
        """One attempt: what the server says, or None if it rejects this request. Again says that a repetition may help."""
        try:
            status, after, text = post(
                f"{self.url.rstrip('/')}/chat/completions", data, os.environ.get(self.key, ""), self.timeout
            )
        except (OSError, http.client.HTTPException) as e:
            raise Again(f"{type(e).__name__}: {e}") from e
        if status in (408, 409, 429) or status >= 500:
            raise Again(f"status {status}", after)
        if status in REJECTED:
            self._rejected += 1
            log.warning("%s: status %d: %s", self.url, status, text[:200].decode(errors="replace"))
            if self._rejected >= 16 and not self._taken:
                raise RecipeError(f"{self.url}: rejects every request (status {status}): {text[:200].decode(errors='replace')}")
            return None
        if status != 200:
            raise RecipeError(f"{self.url}: status {status}: {text[:200].decode(errors='replace')}")
        try:
            found = json.loads(text)
            self._answer(found)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
            raise Again(f"not an answer: {text[:80]!r}") from e
        self._taken += 1
        return found

    def _answer(self, found: dict[str, Any]) -> Answer:
        choice, usage = found["choices"][0], found.get("usage") or {}
        message, finish = choice["message"], choice.get("finish_reason") or "stop"
        tokens_in, tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        cost = ((tokens_in or 0) * self.price_in + (tokens or 0) * self.price_out) / 1e6
        refused = bool(message.get("refusal")) or finish == "content_filter"
        # A model that thinks may be at the limit before it begins to answer.
        text = None if refused or (finish == "length" and message["content"] is None) else message["content"].strip()
        return Answer(text, "refused" if refused else "length" if finish == "length" else "stop", tokens, tokens_in, cost)


class Pace:
    """Lets requests through, evenly, so many a minute."""

    def __init__(self, a_minute: float):
        self.gap, self.next, self.lock = 60.0 / a_minute if a_minute else 0.0, 0.0, threading.Lock()

    def wait(self) -> None:
        with self.lock:
            now = monotonic()
            turn = max(now, self.next)
            self.next = turn + self.gap
        sleep(max(0.0, turn - now))


def post(url: str, data: bytes, key: str, timeout: float) -> tuple[int, float, bytes]:
    """Status, Retry-After in seconds (0: none), body. OSError or HTTPException if it breaks, is late, too long or cut short."""
    parts, deadline = split(url), monotonic() + timeout
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.host, parts.port, timeout=timeout)
    headers = {"Content-Type": "application/json", "Accept": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    try:
        connection.request("POST", parts.path, data, headers)
        answer = connection.getresponse()
        pieces, size = [], 0
        while piece := answer.read1(1 << 16):
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST:
                raise OSError(f"an answer of more than {LONGEST} bytes")
            if monotonic() > deadline:
                raise TimeoutError(f"no whole answer in {timeout:g} s")
            if connection.sock:
                connection.sock.settimeout(max(0.001, deadline - monotonic()))
        if answer.length:
            raise http.client.IncompleteRead(b"".join(pieces), answer.length)
        return answer.status, retry_after(answer.headers.get("Retry-After"), time()) or 0.0, b"".join(pieces)
    finally:
        connection.close()
