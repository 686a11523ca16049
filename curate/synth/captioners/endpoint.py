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
from curate.synth.captioners import answers
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
#: Answers that concern all requests: the key, the account, the model or the address is wrong.
WRONG = {401, 402, 404, 405}
#: Answers after which every request waits: too many, or nobody behind the proxy.
BUSY = {408, 409, 425, 429, 502, 503, 504, 529}
#: Rows in a row that may be given up, after which the trouble is taken for that of all.
LOST = 16


class Unavailable(CurateError):
    """The endpoint did not answer, after all retries; the part is tried again later, and what it had answered is remembered."""


class Unreachable(OSError):
    """Nobody takes the connection."""


class Again(Exception):
    """An attempt that may succeed if repeated. `after`: seconds that the server wants to be left alone. `alone`: this request may be
    the cause, and not the server."""

    def __init__(self, cause: str, after: float = 0.0, alone: bool = False):
        super().__init__(cause)
        self.after, self.alone = after, alone


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

    An answer of any shape costs its row at most: a text that is null, missing, filtered or no text is a row without a caption, and
    `finish` says why. What concerns all rows ends the run: a wrong key or model, a server that is not there for `patience` seconds,
    16 requests in a row that it rejects or breaks at.

    url: up to and with `/v1`. key: the environment variable that holds the API key (a key never goes into a recipe).
    at_once: requests in flight in one worker. a_minute: at most so many requests a minute and worker (0: no limit).
    timeout: seconds for one attempt, from connecting to the last byte. attempts: so many for a request that breaks the server (500, a
    broken or late answer); where it is busy or gone (429, 503, no connection) until `patience` is over; with pauses of 1, 2, 4 ...
    seconds or what `Retry-After` says.
    price_in, price_out: of a million tokens; `cost` in a caption's record is made of them.
    cache: a folder; by default `$CURATE_CACHE/answers`, or `~/.cache/curate/answers`. Nothing there is ever deleted.
    largest, quality: pictures are sent as JPEG with this longer side at most, in pixels, in this quality.
    """

    engine = "openai-compatible"
    gpus = 0
    network = True
    batch = 256
    untracked = ("at_once", "a_minute", "timeout", "attempts", "patience", "price_in", "price_out", "cache", "key", "url")

    url: str = "http://127.0.0.1:8000/v1"
    key: str = "OPENAI_API_KEY"
    at_once: int = 16
    a_minute: float = 0.0
    timeout: float = 120.0
    attempts: int = 6
    patience: float = 300.0
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
        home = os.environ.get("CURATE_CACHE") or Path.home() / ".cache" / "curate"
        self._cache = Path(self.cache) if self.cache else Path(home) / "answers"
        self._pace, self._rejected, self._taken, self._lost = Pace(self.a_minute), 0, 0, 0

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
        file = self._cache / hashed[:2] / f"{hashed}.json"
        found = remembered(file)
        if found is not None:
            self._taken += 1  # the server takes such requests: rejected ones are single ones
            return answers.answer(found, self.price_in, self.price_out)
        try:
            found = self._insist(data, int(hashed[:15], 16))
        except Again as e:
            self._lost += 1
            log.warning("%s: a row without a text: %s", self.url, e)
            return Answer(None, "error")
        if found is None:
            return Answer(None, "rejected")
        self._taken, self._lost = self._taken + 1, 0
        remember(file, found)
        return answers.answer(found, self.price_in, self.price_out)

    def _insist(self, data: bytes, seed: int) -> dict[str, Any] | None:
        """What the server says at last, or None if it rejects this request. Again if this request alone fails; Unavailable if the server
        is not there."""
        begun, attempt = monotonic(), 0
        while True:
            self._pace.wait()
            try:
                return self._post(data)
            except Again as e:
                attempt += 1
                if attempt >= self.attempts:
                    if e.alone and self._taken and self._lost < LOST:
                        raise
                    if monotonic() - begun >= self.patience:
                        raise Unavailable(f"{self.url}: no answer after {attempt} attempts: {e}") from e
                spread = 0.5 + chance(seed, attempt - 1)  # so that many workers do not come back together
                sleep(min(PAUSE, max(e.after, 2.0 ** min(attempt - 1, 6) * spread)))

    def _post(self, data: bytes) -> dict[str, Any] | None:
        """One attempt: what the server says, or None if it rejects this request. Again says that a repetition may help."""
        try:
            status, after, text = post(
                f"{self.url.rstrip('/')}/chat/completions", data, os.environ.get(self.key, ""), self.timeout
            )
        except Unreachable as e:
            raise Again(f"no connection: {e}") from e
        except (OSError, http.client.HTTPException) as e:
            raise Again(f"{type(e).__name__}: {e}", alone=True) from e
        if status != 200:
            return self._failed(status, after, text)
        try:
            found = answers.parsed(text)
        except ValueError as e:
            raise Again(f"not an answer: {text[:80]!r}", alone=True) from e
        error = answers.trouble(found)
        return self._failed(error[0], after, error[1].encode(), answered=True) if error else found

    def _failed(self, status: int, after: float, text: bytes, answered: bool = False) -> None:
        """None: this request is rejected. Again: it may be taken later. RecipeError: none will be. answered: the status stood in an answer
        (200), so the server is there."""
        words = text[:200].decode(errors="replace")
        if status in BUSY or status >= 500:
            raise Again(f"status {status}: {words}", after, alone=status not in BUSY or (answered and status >= 500))
        own = status not in WRONG and 400 <= status < 500 and (status != 403 or answers.moderated(text) or self._taken > 0)
        if not own:
            raise RecipeError(f"{self.url}: status {status}: {words}")
        self._rejected += 1
        log.warning("%s: status %d: %s", self.url, status, words)
        if self._rejected >= LOST and not self._taken:
            raise RecipeError(f"{self.url}: rejects every request (status {status}): {words}")


def remembered(file: Path) -> dict[str, Any] | None:
    """An answer that is kept, or None: there is none, or it cannot be read."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        log.warning("%s: a kept answer cannot be read (%s); it is asked for again", file, e)
        return None
    return found if isinstance(found, dict) else None


def remember(file: Path, found: dict[str, Any]) -> None:
    """Keep an answer; where that cannot be done the run goes on without."""
    work = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        work.write_bytes(json.dumps(found).encode())
        work.replace(file)
    except OSError as e:
        log.warning("%s: an answer cannot be kept: %s", file, e)


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
    """Status, Retry-After in seconds (0: none), body. Unreachable without a connection; OSError or HTTPException if it breaks, is late, too
    long or cut short."""
    parts, deadline = split(url), monotonic() + timeout
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.host, parts.port, timeout=timeout)
    headers = {"Content-Type": "application/json", "Accept": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    try:
        try:
            connection.connect()
        except OSError as e:
            raise Unreachable(f"{type(e).__name__}: {e}") from e
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
