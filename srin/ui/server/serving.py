"""From the built page to the running server: login, MCP, and what launch() is told."""

import argparse
import asyncio
import base64
import re
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import gradio as gr
from gradio.routes import App
from gradio_client import Client
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srin.gpu import is_lent
from srin.ui.blocks import launch_settings
from srin.ui.gallery import gallery
from srin.ui.server.gradio_sessions import forget_regularly
from srin.ui.server.guard import Guard
from srin.ui.session.uploads import sweep_regularly
from srin.ui.stage import getting

# What the login page consists of; "/" is that page until somebody logs in.
LOGIN_PATHS = ("/", "/login", "/login/", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/startup-events")
LOGIN_FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon")

Credentials = tuple[str, str]


def credentials(text: str) -> Credentials:
    """User and password from "USER:PASSWORD", for argparse."""
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("it must be USER:PASSWORD, neither of them empty")
    return user, password


def serve(demo: gr.Blocks, *, mcp: bool = False, auth: Credentials | None = None) -> None:
    """Serves the page until it is interrupted.

    mcp: also serve the public endpoints as MCP tools (GRADIO_MCP_SERVER=true does the same). auth: user and
    password, without which nothing is answered.
    """
    getting.fetch_chosen()
    wall = [Middleware(LoginWall, user=auth[0], password=auth[1])] if auth else []
    demo.launch(
        **launch_settings(demo, middleware=[*wall, Middleware(Guard)], lifespan=_upkeep),
        mcp_server=mcp or None,
        auth=auth,
        auth_message="SRIN Studio is for those who have a password.",
        prevent_thread_lock=True,
        # Otherwise Gradio would check whether it answers, and give up after 3 seconds. That is too short when many pages
        # have waited for the server to come back.
        _frontend=False,
    )
    if demo.mcp_server_obj:
        _separate_outputs(demo.mcp_server_obj)
    if auth and demo.mcp_server_obj:
        # The tools call the app's own address, and Gradio's client for that can't log in. Ours is made at the first call:
        # here it would take a second, in which the tools are already served.
        demo.mcp_server_obj._get_or_create_client = cache(lambda: _own_client(demo, auth))  # type: ignore[method-assign]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it stops services: end in order, as by Ctrl-C
    demo.block_thread()


def _own_client(demo: gr.Blocks, auth: Credentials) -> Client:
    return Client(
        demo.local_url, auth=auth, headers={"x-gradio-user": "mcp"}, download_files=False, verbose=False,
        analytics_enabled=False, _skip_components=False,
    )  # fmt: skip


def _separate_outputs(server: Any) -> None:
    """Gives each output of a tool as a content of its own. Gradio 6.31 gives them as one text, without the picture."""
    contents = server.postprocess_output_data

    def separated(data: list[Any], root_url: str) -> list[Any]:
        each = [one for output in data for one in (output if isinstance(output, tuple) else (output,))]
        return contents(each, root_url)

    server.postprocess_output_data = separated


@asynccontextmanager
async def _upkeep(app: App) -> AsyncIterator[None]:
    """Runs the upkeep as long as the server runs."""
    upkeep = [sweep_regularly(), forget_regularly(app.get_blocks())]
    if not is_lent:  # on lent GPUs, nothing may be computed without a request
        upkeep.append(asyncio.to_thread(gallery.prepare))
    tasks = [asyncio.create_task(task) for task in upkeep]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


class LoginWall:
    """Answers 401 to everything but the login page before login. Gradio's own login leaves some routes open, MCP's too.

    Scripts that can't fill in a page send HTTP Basic authentication with each request.
    """

    def __init__(self, app: ASGIApp, user: str, password: str) -> None:
        self._app = app
        self._user = user
        self._basic = base64.b64encode(f"{user}:{password}".encode())
        self._token = secrets.token_urlsafe(16)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._logged_in(scope):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in LOGIN_PATHS or path.startswith(LOGIN_FOLDERS):
            await self._app(scope, receive, _without_endpoints(send) if path == "/" else send)
        else:
            answer = JSONResponse({"detail": "Log in first."}, 401, {"WWW-Authenticate": 'Basic realm="SRIN Studio"'})
            await answer(scope, receive, send)

    def _logged_in(self, scope: Scope) -> bool:
        gradio_app: App = scope["app"]
        request = HTTPConnection(scope)
        names = [f"access-token-{kind}{gradio_app.cookie_id}" for kind in ("", "unsecure-")]
        if any(request.cookies.get(name) in gradio_app.tokens for name in names):
            return True
        if self._knows(request.headers.get("authorization", "")):
            # The app behind this wall sees an ordinary login.
            gradio_app.tokens[self._token] = self._user
            cookies = "; ".join(filter(None, (request.headers.get("cookie"), f"{names[0]}={self._token}")))
            others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
            scope["headers"] = [*others, (b"cookie", cookies.encode("latin-1"))]
            return True
        return False

    def _knows(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "basic" and secrets.compare_digest(given.strip().encode("latin-1"), self._basic)


def _without_endpoints(send: Send) -> Send:
    """Takes the description of the endpoints, which Gradio puts into every page, out of the login page."""
    start: dict[str, Any] = {}

    async def shortened(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        body = re.sub(rb"(gradio_api_info = )[^<]*;", rb"\1{};", message.get("body", b""))
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({**message, "body": body})

    return shortened
