"""Refuses requests before Gradio sees them: those that other web pages make a browser send, and oversized bodies."""

from gradio.route_utils import get_hostname
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srin.limits import MAX_BODY

UPLOADS = "/gradio_api/upload"  # has a limit of its own, MAX_UPLOAD
UNUSED = ("/gradio_api/process_recording", "/gradio_api/vibe")  # Gradio's own tools: they write files and start programs
LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


class Guard:
    """ASGI middleware. A browser names the page that makes a request as its Origin, programs don't.

    On the visitor's own machine, the app answers only pages from that machine. On a public host it answers any page,
    unless the request carries the cookies of the visitor's login.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _foreign(headers):
            refusal = PlainTextResponse("Requests from other web pages are refused here.", 403)
        elif scope["path"].startswith(UNUSED):
            refusal = PlainTextResponse("There is nothing here.", 404)
        elif scope["path"].rstrip("/") == UPLOADS:
            await self.app(scope, receive, send)
            return
        else:
            await _Limited(self.app, scope, receive, send).run(int(_digits(headers.get("content-length"))))
            return
        await refusal(scope, receive, send)


def _digits(text: str | None) -> str:
    return text if text and text.isdecimal() and len(text) < 20 else "0"


def _foreign(headers: Headers) -> bool:
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is None:
        return False
    page, here = get_hostname(origin), get_hostname(host)
    if here in LOCAL:
        return page not in LOCAL
    return page != here and "access-token" in headers.get("cookie", "")


class _TooLarge(Exception):
    pass


class _Limited:
    """One request whose body may have MAX_BODY bytes, whether or not it announces its length."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.app, self.scope, self._receive, self._send = app, scope, receive, send
        self.taken = 0
        self.answering = False

    async def run(self, announced: int) -> None:
        try:
            if announced > MAX_BODY:
                raise _TooLarge
            await self.app(self.scope, self.receive, self.send)
        except _TooLarge:
            if not self.answering:
                refusal = PlainTextResponse(f"A request may have {MAX_BODY >> 10} KB. Upload files first.", 413)
                await refusal(self.scope, self._receive, self._send)

    async def receive(self) -> Message:
        message = await self._receive()
        self.taken += len(message.get("body", b""))
        if self.taken > MAX_BODY:
            raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        self.answering = True
        await self._send(message)
