"""The server of `curate explore`: on the loopback address only, for whoever has the token that it prints.

A page in the browser may hold text, addresses and images of strangers. So: its policy lets nothing load and no script run but its own,
text is never markup, images are made anew in a process of their own, and the host name of a request must be this machine's (DNS rebinding).
"""

import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import duckdb
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.errors import CurateError, RecipeError
from curate.view.explore.explorer import Explorer
from curate.view.look import clean
from curate.view.markup import text_of

#: Sides of images, in pixels, and the most bytes of an image that is searched for.
SIDES, UPLOAD = {"small": 320, "large": 1600}, 32 << 20

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def serve(explorer: Explorer, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `ready` is called with the address to open. port: 0 is any free one."""
    server, listening, address = listen(explorer, port)
    with listening:
        ready(address)
        server.run(sockets=[listening])


def listen(explorer: Explorer, port: int) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that does not run yet, the socket it is to serve, which listens on 127.0.0.1, and the address to open.
    RecipeError if it cannot listen on the port."""
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as e:
        raise RecipeError(f"port {port}: {getattr(e, 'strerror', None) or e}") from e
    token = secrets.token_urlsafe(24)
    app = application(explorer, token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
    return uvicorn.Server(config), listening, f"http://127.0.0.1:{listening.getsockname()[1]}/?token={token}"


def application(explorer: Explorer, token: str) -> Starlette:
    """The ASGI application; requests without the token are refused."""
    ask = {
        "rows": explorer.rows,
        "facet": explorer.facet,
        "near": explorer.near,
        "groups": explorer.groups,
        "map": explorer.map,
        "move": explorer.move,
        "about": lambda _: explorer.about(),
        "story": lambda asked: explorer.story(str(asked.get("uid"))),
    }
    routes = [
        Route("/", _page),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
        Route("/explore.js", _static("explore.js", "text/javascript")),
        Route("/explore.css", _style),
        *(Route(f"/api/{name}", _answer(answer)) for name, answer in ask.items()),
        Route("/api/image", _search(explorer), methods=["POST"]),
        Route("/image/{side}/{uid}", _picture(explorer)),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
    errors: dict[Any, Any] = {CurateError: _wrong, duckdb.Error: _changed, OSError: _changed}
    return Starlette(routes=routes, middleware=[hosts, Middleware(Guard, token=token)], exception_handlers=errors)


class Guard:
    """Middleware: a request needs the token, in the address of the first one and in a cookie from then on; headers for all answers."""

    def __init__(self, app: ASGIApp, token: str):
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        name = f"curate-{request.url.port or 80}"
        token = request.query_params.get("token")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {k for k, _ in message["headers"]}
                message["headers"] += [
                    (k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in own
                ]
            await send(message)

        if token is not None and secrets.compare_digest(token.encode(), self.token.encode()):
            answer: ASGIApp = RedirectResponse("/", 303)
            answer.set_cookie(name, self.token, httponly=True, samesite="strict")
        elif secrets.compare_digest(request.cookies.get(name, "").encode(), self.token.encode()):
            answer = self.app
        else:
            words = "This page needs the token: open the address that `curate explore` printed.\n"
            answer = Response(words, 403, media_type="text/plain")
        await answer(scope, receive, guarded)


def _answer(answer: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
    """A route that is asked in JSON (`?q={…}`) and answers in JSON."""

    async def endpoint(request: Request) -> Response:
        try:
            asked = json.loads(request.query_params.get("q", "{}"))
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise HTTPException(400, "q is not a JSON object")
        return JSONResponse(await run_in_threadpool(answer, asked))

    return endpoint


def _search(explorer: Explorer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > UPLOAD:
                raise HTTPException(413, f"the file has more than {UPLOAD >> 20} MiB")
        return JSONResponse(await run_in_threadpool(explorer.near_image, bytes(data)))

    return endpoint


def _picture(explorer: Explorer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        side = SIDES.get(request.path_params["side"])
        jpeg = await run_in_threadpool(explorer.picture, request.path_params["uid"], side) if side else None
        if jpeg is None:
            return Response("no image\n", 404, media_type="text/plain")
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    return endpoint


def _static(name: str, kind: str) -> Callable[[Request], Response]:
    def endpoint(_: Request) -> Response:
        return Response(files(__package__).joinpath(name).read_bytes(), media_type=kind)

    return endpoint


def _page(request: Request) -> Response:
    return _static("explore.html", "text/html")(request)


def _style(request: Request) -> Response:
    own = files(__package__).joinpath("explore.css").read_text(encoding="utf-8")
    return Response(text_of("style.css") + own, media_type="text/css")


def _wrong(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": clean(str(error))}, 400)


def _changed(_: Request, error: Exception) -> Response:
    """The database or a file failed: most often the run was written to meanwhile."""
    cause = clean(str(error).strip().split("\n")[0])
    return JSONResponse({"error": f"the run could not be read; did it change? Start `curate explore` again. ({cause})"}, 500)
