"""What every address of the server shares: bodies that are bounded and checked, errors as OpenAI's clients read them, headers, the token.

    asked = await read(request, ChatRequest)          # raises Refused(413), Refused(415) or Refused(422)

No message repeats what was asked: it may be clinical.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jmlr.runtime.validation import told

Body = TypeVar("Body", bound=BaseModel)
MOST_BYTES = 2 << 20  # of a body
OTHER = re.compile("_(type|parsing)$")  # faults by which a value is of another kind altogether
UNION = re.compile(r"constrained-|[\w-]+\[")  # parts of a fault's place that name one of a field's kinds
CLOSED = ("literal_error", "int_parsing", "float_parsing", "bool_parsing")
WORD = re.compile(r"[\w.-]{1,20}")
PORT = re.compile(r":\d+$")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
KINDS = {401: "authentication_error", 404: "not_found_error", 503: "server_error", 500: "server_error"}


class Refused(Exception):  # noqa: N818
    """A request that cannot be followed: its status, and why."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


def refusal(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as OpenAI's clients read it."""
    error = {"message": why, "type": KINDS.get(status, "invalid_request_error"), "param": None, "code": None}
    return JSONResponse({"error": error}, status, headers)


async def read(request: Request, kind: type[Body]) -> Body:
    """Return a request's body; raise Refused where it is no JSON, too large, or not of the kind."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "allowed: Content-Type: application/json")  # which no other site can send unasked
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MOST_BYTES:
            raise Refused(413, f"the body is larger than {MOST_BYTES >> 20} MiB")
    try:
        return kind.model_validate_json(bytes(raw))
    except ValidationError as error:
        raise Refused(422, _first(error, kind)) from None


def _first(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say one fault of a body in one line; of what was given numbers and single words for closed fields are repeated."""
    # A field may be of several kinds: the fault is that of the kind that was meant, within which it lies.
    faults: list[dict[str, Any]] = [dict(fault) for fault in error.errors()]
    fault = max(faults, key=lambda f: (not OTHER.search(f["type"]), len(f["loc"])))
    fault["loc"] = tuple(part for part in fault["loc"] if isinstance(part, int) or not UNION.match(part))
    given = fault["input"]
    if not isinstance(given, int | float | None) and not (fault["type"] in CLOSED and WORD.fullmatch(str(given))):
        del fault["input"]
    return told(fault, kind)


async def waited(request: Request, work: Awaitable[Any]) -> Any:
    """Return what work comes to; end it where the client has hung up."""
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=0.25))[0]:
            if await request.is_disconnected():
                raise Refused(499, "the client hung up")
        return task.result()
    finally:
        if not task.done():
            task.cancel()


class Guard:
    """Before everything else: the name that the server is called by, the token, and the headers of every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        """Guard an application.

        Args:
            app: what answers
            hosts: names that a browser may call the server by; empty: any. A page elsewhere whose name leads here
                (DNS rebinding) is refused.
            token: that must be given, as a bearer's or a password's; "": none
        """
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        name = PORT.sub("", headers.get("host", ""))
        if self.hosts and name not in self.hosts:
            await refusal(421, "this server is called by another name")(scope, receive, headed)
        elif self.token and not self._knows(headers.get("authorization", "")):
            asked = {"WWW-Authenticate": 'Basic realm="jmlr: any name, and the token as password", charset="UTF-8"'}
            await refusal(401, "the token is missing or wrong", asked)(scope, receive, headed)
        else:
            await self.app(scope, receive, headed)

    def _knows(self, said: str) -> bool:
        kind, _, value = said.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(value.strip().encode(), self.token.encode())
