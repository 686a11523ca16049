"""Captioners and rewriters behind OpenAI-compatible endpoints, with retries and a cache of answers."""

import base64
import hashlib
import io
import json
import logging
import os
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from curate.errors import CurateError, RecipeError
from curate.synth.captioners import answers
from curate.synth.captioners.answer_cache import AnswerCache
from curate.synth.captioners.base import Answer, Decoding, PreparedImage, Request, Video, Writer
from curate.synth.captioners.decode import chance
from curate.synth.captioners.hugging import downscale
from curate.synth.captioners.servers import Servers, Turn, Unreachable, sleep
from curate.web.url import split

log = logging.getLogger(__name__)

#: The longest pause between two attempts, seconds.
PAUSE = 60.0
#: Answers that concern all requests: the key, the account, the model or the address is wrong.
WRONG = {401, 402, 404, 405}
#: Answers after which fewer are asked: too many, or nobody behind the proxy.
BUSY = {408, 409, 425, 429, 502, 503, 504, 529}
#: Rows in a row that may be given up, after which the trouble is taken for that of all.
LOST = 16


class Unavailable(CurateError):
    """No server answered after all retries; the run ends, and resumes when it is started again."""


class Again(Exception):
    """An attempt that may succeed if repeated. `after`: seconds that the server wants to be left alone. `alone`: this request may be
    the cause, and not the server."""

    def __init__(self, cause: str, after: float = 0.0, alone: bool = False):
        super().__init__(cause)
        self.after, self.alone = after, alone


class Rejected(Exception):
    """The server will not take this request. `finish`: what becomes of its row."""

    def __init__(self, finish: str):
        super().__init__(finish)
        self.finish = finish


def extension_parameters(decoding: Decoding) -> tuple[tuple[str, float, float], ...]:
    """Decoding parameters beyond OpenAI's API as vLLM and SGLang name them: (name, value, neutral value)."""
    return (
        ("top_k", decoding.top_k, 0),
        ("min_tokens", max(decoding.min_tokens, 1), 1),
        ("repetition_penalty", decoding.repetition, 1.0),
    )


@dataclass
class Endpoint(Writer):
    """`POST {url}/chat/completions`: any OpenAI-compatible server, or several of the same model side by side. Answers are kept in
    `cache` by the hash of the request.

    An answer of any shape costs its row at most: a text that is null, missing, filtered or no text is a row without a caption, and
    `finish` says why. What concerns all rows ends the run: a wrong key or model, servers that are not there for `patience` seconds,
    16 requests in a row that are rejected or break the server.

    url: up to and with `/v1`; several are parted by commas. key: the environment variable that holds the API key (a key never goes
    into a recipe).
    at_once: most requests in flight to one server from one worker. How many there are is found out (limit.Limit): more while the
    server answers faster for it, fewer after 429. a_minute: at most so many requests a minute, server and worker (0: no limit).
    timeout: seconds for one attempt, from connecting to the last byte. attempts: so many for a request that breaks the server (500, a
    broken or late answer); where all are busy or gone (429, 503, no connection) until `patience` is over; with pauses of 1, 2, 4 ...
    seconds or what `Retry-After` says.
    price_in, price_out: of a million tokens; `cost` in a caption's record is made of them.
    cache: a folder; by default `$CURATE_CACHE/answers`, or `~/.cache/curate/answers`. Nothing there is ever deleted.
    largest, quality: pictures are sent as JPEG with this longer side at most, in pixels, in this quality.
    """

    engine = "openai-compatible"
    gpus = 0
    network = True
    most_pictures = 64
    takes_videos = True
    untracked = ("at_once", "a_minute", "timeout", "attempts", "patience", "price_in", "price_out", "cache", "key", "url")

    deadline: float = field(default=0.0, kw_only=True)  # attempts and patience say when a row is given up
    url: str = "http://127.0.0.1:8000/v1"
    key: str = "OPENAI_API_KEY"
    at_once: int = 256
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
        for url in self.urls or [""]:
            try:
                web = split(url).scheme in ("http", "https")
            except ValueError:
                web = False
            if not web:
                raise RecipeError(f"endpoint {self.url}: not a URL that begins with http:// or https://")

    @property
    def urls(self) -> list[str]:
        return [url.strip().rstrip("/") for url in self.url.split(",") if url.strip()]

    @property
    def room(self) -> int:
        return self.at_once * len(self.urls)

    def preflight(self) -> None:
        gone = []
        for url in self.urls:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            try:
                socket.create_connection((parts.hostname, port), timeout=10).close()
            except OSError as e:
                gone.append(f"endpoint {url}: nobody answers there ({e.strerror or e})")
                log.warning("%s", gone[-1])
        if len(gone) == len(self.urls):
            raise RecipeError(f"{'; '.join(gone)}: start the server first")

    def load(self) -> None:
        self._kept, self._rejected, self._taken, self._lost = AnswerCache(self.cache), 0, 0, 0

    async def start(self) -> None:
        self._servers = Servers(self.urls, self.at_once, self.a_minute, self.timeout)

    async def stop(self) -> None:
        await self._servers.close()

    def prepare(self, image: np.ndarray) -> PreparedImage:
        from PIL import Image

        picture, out = Image.fromarray(downscale(image, self.largest)), io.BytesIO()
        picture.save(out, "JPEG", quality=self.quality)
        return PreparedImage(out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest(), picture.width, picture.height)

    def body(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        """The request as JSON."""
        form = {"name": "answer", "schema": decoding.schema, "strict": True}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": [_part(part) for part in request.content]}],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
            "seed": request.seed,
            **{name: asked for name, asked, neutral in extension_parameters(decoding) if asked != neutral},
            **({"response_format": {"type": "json_schema", "json_schema": form}} if decoding.schema else {}),
        }

    async def answer(self, request: Request, decoding: Decoding) -> Answer:
        """The answer to one request, from the cache or the server."""
        if decoding.beams > 1:
            raise RecipeError("Endpoint draws; for beam search take Coca, ImageToText or ChatVlm")
        data = json.dumps(self.body(request, decoding), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        hashed = hashlib.sha256(data).hexdigest()
        found = self._kept.get(hashed)
        if found is not None:
            self._taken += 1  # the server takes such requests: rejected ones are single ones
            return answers.answer(found, self.price_in, self.price_out)
        try:
            found = await self._request_with_retries(data, int(hashed[:15], 16))
        except Again as e:
            self._lost += 1
            log.warning("%s: a row without a text: %s", self.url, e)
            return Answer(None, "error")
        except Rejected as e:
            return Answer(None, e.finish)
        self._taken, self._lost = self._taken + 1, 0
        self._kept.put(hashed, found)
        return answers.answer(found, self.price_in, self.price_out)

    async def _request_with_retries(self, data: bytes, seed: int) -> dict[str, Any]:
        """The server's final answer. Raises Rejected or Again if this request alone fails, Unavailable if no server answers."""
        attempt = 0
        while True:
            async with Turn(self._servers) as turn:
                try:
                    found = await self._post(turn, data)
                    turn.answered()
                    return found
                except Rejected:
                    turn.answered()
                    raise
                except Again as e:
                    error, down = e, turn.failed()
                    if not e.alone:
                        turn.refused(e.after)
            attempt += 1
            if attempt >= self.attempts and error.alone and self._taken and self._lost < LOST:
                raise error
            if attempt >= self.attempts and down >= self.patience:
                raise Unavailable(f"{turn.server.url}: no answer after {attempt} attempts: {error}") from error
            spread = 0.5 + chance(seed, attempt - 1)  # so that many workers do not come back together
            await sleep(min(PAUSE, max(error.after, 2.0 ** min(attempt - 1, 6) * spread)))

    async def _post(self, turn: Turn, data: bytes) -> dict[str, Any]:
        """One attempt. Raises Rejected if the server will not accept the request, Again if a retry may help."""
        import aiohttp

        url = turn.server.url
        try:
            status, after, text = await self._servers.post(f"{url}/chat/completions", data, os.environ.get(self.key, ""))
        except Unreachable as e:
            raise Again(f"no connection: {e}") from e
        except (OSError, aiohttp.ClientError) as e:
            raise Again(f"{type(e).__name__}: {e}", alone=True) from e
        if status != 200:
            raise self._failed(url, status, after, text)
        try:
            found = answers.parsed(text)
        except ValueError as e:
            raise Again(f"not an answer: {text[:80]!r}", alone=True) from e
        if error := answers.embedded_error(found):
            raise self._failed(url, error[0], after, error[1].encode(), answered=True)
        return found

    def _failed(self, url: str, status: int, after: float, text: bytes, answered: bool = False) -> Exception:
        """Rejected: this request will not be taken. Again: it may be taken later. RecipeError: none will be. answered: the status stood
        in an answer (200), so the server is there."""
        words, moderated = text[:200].decode(errors="replace"), answers.moderated(text)
        if status in BUSY or status >= 500:
            return Again(f"status {status}: {words}", after, alone=status not in BUSY or (answered and status >= 500))
        own = status not in WRONG and 400 <= status < 500 and (status != 403 or moderated or self._taken > 0)
        if not own:
            return RecipeError(f"{url}: status {status}: {words}")
        self._rejected += 1
        log.warning("%s: status %d: %s", url, status, words)
        if self._rejected >= LOST and not self._taken:
            return RecipeError(f"{url}: rejects every request (status {status}): {words}")
        return Rejected("moderated" if moderated else "rejected")


def _part(part: str | PreparedImage | Video) -> dict[str, Any]:
    """A part of a message as OpenAI's API has it; a video, which it has not, as vLLM's: JPEG frames with commas between."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind, frames = ("video", part.frames) if isinstance(part, Video) else ("image", (part,))
    url = f"data:{kind}/jpeg;base64," + ",".join(base64.b64encode(frame.data).decode() for frame in frames)
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
