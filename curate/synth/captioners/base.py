"""The interface of generating models: requests, decoding parameters, answers, and the base class of writers."""

import hashlib
import importlib.metadata
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from curate.errors import RecipeError
from curate.stage import plain


@dataclass(frozen=True)
class Decoding:
    """How the words are chosen, one token after another.

    beams: 1 draws (or takes the best token, at temperature 0); more is beam search, which draws nothing.
    temperature: of the softmax. top_p: nucleus sampling, the smallest set of tokens with this probability (BLIP: 0.9).
    top_k: only the k best tokens (0: all). BLIP-2 as Nguyen et al. (2307.10350) ran it: top_k 50, temperature 0.75, 5 to 40
    tokens.
    repetition: logits of tokens already written are divided by it (CTRL, 1909.05858); 1 changes nothing.
    schema: a JSON schema (draft 2020-12) that the answer has to follow, for answers that are data. Engines that can only write
    what follows it do so (vLLM, servers with `response_format`); every answer is validated.
    """

    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_tokens: int = 1
    max_tokens: int = 64
    repetition: float = 1.0
    schema: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values; without the schema where there is none."""
        return {k: v for k, v in plain(self).items() if k != "schema" or v is not None}

    def __post_init__(self):
        if (
            self.beams < 1
            or self.temperature < 0
            or not 0 < self.top_p <= 1
            or not 0 <= self.min_tokens <= self.max_tokens
            or self.max_tokens < 1
        ):
            raise RecipeError(f"decoding {self}: beams >= 1, temperature >= 0, 0 < top_p <= 1, min_tokens <= max_tokens")
        if self.beams > 1 and self.temperature > 0:
            raise RecipeError("decoding: beam search draws nothing; leave the temperature at 0, or take one beam")


@dataclass(frozen=True)
class PreparedImage:
    """A picture prepared for a model. `sha256` is of the bytes that the model gets; width and height in pixels."""

    data: Any
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Video:
    """Frames of a video prepared for a model, in order of time."""

    frames: tuple[PreparedImage, ...]


#: What a model is shown, in this order: texts, pictures as uint8 (height, width, 3), RGB, and videos as (frames, height, width, 3).
Content = tuple[str | np.ndarray, ...]


@dataclass(frozen=True)
class Request:
    """One text that is wanted. content: what the model is shown, texts, pictures and videos in this order, as one message of a user.
    seed: of its draws."""

    content: tuple[str | PreparedImage | Video, ...]
    seed: int = 0

    @property
    def text(self) -> str:
        """The texts of the content, one after another."""
        return "\n".join(part for part in self.content if isinstance(part, str))

    @property
    def pictures(self) -> list[PreparedImage]:
        return [part for part in self.content if isinstance(part, PreparedImage)]

    @property
    def videos(self) -> list[Video]:
        return [part for part in self.content if isinstance(part, Video)]

    @property
    def seen(self) -> list[PreparedImage]:
        """Pictures and frames of videos, in their order."""
        return [each for p in self.content if not isinstance(p, str) for each in (p.frames if isinstance(p, Video) else (p,))]


@dataclass(frozen=True)
class Answer:
    """One text, or None and why there is none.

    finish: `stop` (the model ended it), `same` (not asked: the row's own text does), `length` (cut at the token limit), `empty` (it wrote nothing), `refused` (the model
    declines), `moderated` (a filter of the server stopped the request or the answer), `rejected` (the server will not take this
    request), `invalid` (not what the schema wants), `no_text` and `bad_image` (nothing to ask about), `too_many_images` (more than
    the model takes), `late` (no answer within the row's deadline), `over_budget` (not asked: the run's budget is spent), or `error`
    (this request alone breaks the model).
    tokens and tokens_in are the model's own counts; cost is in the currency of the prices given.
    """

    text: str | None
    finish: str
    tokens: int | None = None
    tokens_in: int | None = None
    cost: float | None = None


@dataclass
class Writer:
    """A model that writes. Its parameters are plain values, and go into the recipe's record.

    Write `load`, `prepare` (one picture, in a thread; may be left out by a model that takes none) and `answer`. A model that
    answers many requests by one call is a `batches.BatchWriter`. All coroutines run in one event loop (request_loop.RequestLoop), which has
    at most `room` calls of `answer` under way.

    deadline: seconds that one request may take (0: any). silence: seconds without any answer after which the engine is taken for stalled.
    """

    engine: ClassVar[str] = ""  # the package that runs it
    gpus: ClassVar[float] = 1
    network: ClassVar[bool] = False
    most_pictures: ClassVar[int] = 1  # in one request, frames of videos aside
    takes_videos: ClassVar[bool] = False  # whether its kind may; whether the model does is the model's matter
    untracked: ClassVar[tuple[str, ...]] = ()  # parameters that do not change what is written, besides these here
    instead: ClassVar[str] = "name a folder with the model, an endpoint's URL#MODEL, or for a first try --captioner small"

    model: str = ""
    deadline: float = field(default=600.0, kw_only=True)
    silence: float = field(default=900.0, kw_only=True)

    def __getstate__(self) -> dict[str, Any]:
        """Its parameters, without what `load` and `start` made: a writer that was used here goes to workers as one that was not."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        getattr(self, "__post_init__", lambda: None)()

    @property
    def room(self) -> int:
        """The most requests in flight."""
        return 16

    def preflight(self) -> None:
        """RecipeError if the model cannot be had. Called once, before a run fetches anything; downloads nothing."""

    def load(self) -> None:
        """Load the model; called once in each worker."""

    async def start(self) -> None:
        """Open what belongs to the event loop (connections, an engine's own tasks), before the first request."""

    async def stop(self) -> None:
        """Close what `start` opened."""

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """uint8 (height, width, 3), RGB -> what the model looks at."""
        raise RecipeError(f"{type(self).__name__} takes no pictures")

    async def answer(self, request: Request, decoding: Decoding) -> Answer:
        """The answer to one request. A CurateError ends the run's visit to the part, any other exception costs the row."""
        raise NotImplementedError(f"{type(self).__name__} must define answer()")

    def weights(self) -> str:
        """What the weights are: `sha256:…` of local files, else the name they go by."""
        return self.model

    def identity(self) -> dict[str, Any]:
        """What its texts depend on."""
        moot = {"deadline", "silence", *self.untracked}
        return {k: v for k, v in plain(self).items() if k not in moot} | {"weights": self.weights()}

    def version(self) -> str:
        """`open_clip_torch 3.3.0`; the name alone where the package is not installed (a server's)."""
        try:
            return f"{self.engine} {importlib.metadata.version(self.engine)}"
        except importlib.metadata.PackageNotFoundError:
            return self.engine


def seed_of(uid: str, seed: int, turn: int) -> int:
    """63 bits of md5(uid:turn:seed): the seed of one candidate of one row, the same on every machine and in every batch."""
    return int(hashlib.md5(f"{uid}:{turn}:{seed}".encode(), usedforsecurity=False).hexdigest()[:16], 16) >> 1


def seen(pixels: np.ndarray) -> PreparedImage:
    """Pixels as a model is given them: uint8 (height, width, 3)."""
    pixels = np.ascontiguousarray(pixels)
    return PreparedImage(pixels, hashlib.sha256(pixels).hexdigest(), pixels.shape[1], pixels.shape[0])
