"""`jmlr serve`: a page and an API over a finished run, on this machine.

jmlr serve results/demo                         # http://127.0.0.1:8765
jmlr serve results/own --beside results/demo    # and the two compared
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import require
from jmlr.runtime.finished import unfinished
from jmlr.runtime.progress import say
from jmlr.runtime.validation import Word, nearest
from jmlr.serving.row import Row, private_sources, row_of, rows_of

TOKEN = "JMLR_SERVE_TOKEN"
LEAST = 16  # characters of a token
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def serve(
    run: Path,
    /,
    systems: list[Word] = [],  # noqa: B006
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 8765,
    beside: Path | None = None,
) -> None:
    """Serve a finished run: ask its rows side by side, browse its questions, compare runs, and an OpenAI-compatible API.

    Args:
        run: folder of the run
        systems: rows that answer, the first where none is named; none: all of the run that have answered on this machine
        seed: of the trainings
        host: address to listen on; one that other machines reach wants a token in JMLR_SERVE_TOKEN, and no private source
        port: to listen on; 0: any that is free
        beside: folder of another run to compare with

    Example:
        jmlr serve results/demo --systems jmlr rag closed_book
    """
    require("jmlr serve", "jinja2", "starlette", "uvicorn")
    if not 0 <= port < 1 << 16:
        raise UserError(f"--port {port}; allowed: 0 to {(1 << 16) - 1}")
    hosts, token = _guarded(run, beside, host)
    rows = _rows(run, list(systems), seed)
    if beside is not None:
        _answered(beside, "--beside")
    from jmlr.serving.app import application

    first = next(iter(rows))
    with _listening(host, port) as listening:
        _run(application(run, rows, first, other=beside, hosts=hosts, token=token), listening, host)


def _guarded(run: Path, beside: Path | None, host: str) -> tuple[frozenset[str], str]:
    """Return by which names the server may be called, and the token that is to be given.

    Raises:
        UserError: other machines could reach the server, and a source is private, or there is no token, or a short one.
    """
    token = os.environ.get(TOKEN, "")
    if token and len(token) < LEAST:
        raise UserError(f"{TOKEN}: {count_of(len(token), 'character')}; allowed: {LEAST} or more")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if local:
        return LOOPBACK | {host}, token
    for folder in (run, beside):
        if folder is not None and (private := private_sources(folder)):
            raise UserError(
                f"--host {host}: '{folder}' holds texts of {', '.join(private)}, which must not leave this machine (private); "
                "allowed: 127.0.0.1"
            )
    if not token:
        raise UserError(f"--host {host}: other machines would reach it; set {TOKEN} to a token, or leave --host out")
    return frozenset(), token


def _rows(run: Path, systems: list[str], seed: int) -> dict[str, Row]:
    """Return the rows that are served, the one that answers by itself first."""
    have = [system for system, n in _answered(run, "RUN") if n == seed]
    if not have:
        raise UserError(f"--seed {seed}: no system of '{run}' with this seed has answered yet")
    for name in systems:
        if name not in have:
            raise UserError(f"--systems: no row '{name}'{nearest(name, have)} with seed {seed} has answered in '{run}'")
    rows = {name: row_of(run, name, seed) for name in systems or have}
    if not systems:  # a row behind a server costs money: it is served where it is asked for by name
        rows = {name: row for name, row in rows.items() if not row.endpoint} or rows
    best = max(rows, key=lambda name: (len(rows[name].rounds) > 1, name == "jmlr", rows[name].passages > 0))
    first = systems[0] if systems else best
    return {first: rows[first], **rows}


def _answered(run: Path, name: str) -> list[tuple[str, int]]:
    """Return the systems and seeds of a run that have answered; raise UserError, of the option `name`, where there are none."""
    try:
        if found := rows_of(run):
            return found
        raise unfinished(run, "no system has answered yet")
    except UserError as error:
        raise UserError(str(error).replace("--run:", f"{name}:", 1)) from None


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise UserError where the address is taken, or none of this machine's."""
    try:
        [found, *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(found[4][:2], family=found[0], backlog=512)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror or error}; give another --port, or 0") from None


def _run(app: Any, listening: socket.socket, host: str) -> None:
    """Open the first row, say where the server is, and answer until it is interrupted."""
    import uvicorn

    app.state.ready()
    shown = f"[{host}]" if ":" in host else host
    say(f"serve: http://{shown}:{listening.getsockname()[1]} answers; Ctrl-C ends it")
    # No line for a request or a fault: addresses and tracebacks may hold what was asked.
    settings = uvicorn.Config(
        app, access_log=False, log_level="critical", timeout_graceful_shutdown=3, server_header=False
    )
    uvicorn.Server(settings).run(sockets=[listening])
