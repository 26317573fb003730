"""The server: addresses, guard and faults put together.

app = application(run, rows, first="jmlr", hosts=frozenset({"127.0.0.1"}), token="")       # an ASGI application
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from jmlr.runtime.errors import UserError
from jmlr.serving.api import Api, said_of
from jmlr.serving.batching import Batcher
from jmlr.serving.http import Guard, Refused, refusal
from jmlr.serving.pages import Pages
from jmlr.serving.row import Row
from jmlr.serving.work import Work

HERE = Path(__file__).parent


def application(
    run: Path,
    rows: dict[str, Row],
    first: str,
    *,
    other: Path | None = None,
    hosts: frozenset[str] = frozenset(),
    token: str = "",
) -> Starlette:
    """Return the server of a run.

    Args:
        run: its folder
        rows: those that answer, by their names
        first: the row that answers where none is named
        other: folder of a run to compare with
        hosts, token: as `Guard` takes them
    """
    work = Work(rows)
    queue = Batcher(work)
    api = Api(rows, queue, first)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        queue.stop()

    app = Starlette(
        routes=[
            *api.routes(),
            *Pages(run, api, other).routes(),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={Refused: _refused, HTTPException: _http, UserError: _user, Exception: _fault},
        lifespan=lifespan,
    )
    app.state.ready = partial(work.ready, first)
    return app


async def _refused(_: Request, error: Any) -> Response:
    return refusal(error.status, error.why, error.headers)


async def _http(_: Request, error: Any) -> Response:
    return refusal(error.status_code, str(error.detail), error.headers)


async def _user(_: Request, error: Any) -> Response:
    return refusal(422, str(error))


async def _fault(_: Request, error: Any) -> Response:
    return refusal(500, said_of(error))
