"""The pages: ask, browse, compare. Templates escape what they show, and no page holds a script of its own.

GET  /                     ask; ?id= of a test question, ?rows= which answer
POST /ask                  the same for the page's script: a line of JSON for each thing that is known, as it is known
GET  /browse, /compare     what the run has stored
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from jmlr.serving.api import Api, last_of, said_of
from jmlr.serving.batching import Job
from jmlr.serving.compared import Compared
from jmlr.serving.http import Refused, read
from jmlr.serving.messages import AskRequest
from jmlr.serving.stored import MOVES, OUTCOMES, Filter, Stored
from jmlr.serving.system import Asked, Passage, Said
from jmlr.serving.work import PLACES, Moves, Why

AT_ONCE = 50  # questions of a page
MOST_ROWS = 4  # asked side by side


class Pages:
    """The pages of a run."""

    def __init__(self, run: Path, api: Api, other: Path | None) -> None:
        """Show a run, beside another one if there is one."""
        self.run, self.api, self.other = run, api, other
        folder = Path(__file__).parent / "templates"
        self.templates = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.policies["json.dumps_kwargs"] = {"sort_keys": False}  # rows keep their order
        self.templates.globals |= {
            "link": link,
            "run": run.name,
            "comparing": other is not None,
        }

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/", self.home),
            Route("/ask", self.ask, methods=["POST"]),
            Route("/browse", self.browse),
            Route("/compare", self.compare),
        ]

    @cached_property
    def stored(self) -> Stored:
        """What the run's rows answered, read at the first need."""
        return Stored.read(self.run, self.api.rows)

    @cached_property
    def compared(self) -> Compared:
        """The run beside the other one."""
        if self.other is None:
            raise Refused(404, "no run to compare with was given; start with: jmlr serve RUN --beside OTHER")
        return Compared.read(self.other, self.run, self.api.rows[self.api.first].seed)

    def page(self, name: str, **values: Any) -> Response:
        """Return a page."""
        return HTMLResponse(self.templates.get_template(f"{name}.html.jinja").render(here=name, **values))

    def pair(self) -> list[str]:
        """Return the rows that are asked side by side at first: the one that answers by itself, and one that reads unlearned passages."""
        reading = [n for n, r in self.api.rows.items() if n != self.api.first and r.passages and not r.endpoint]
        frozen = [n for n in reading if len(self.api.rows[n].rounds) < 2]
        beside = "rag" if "rag" in frozen else next(iter(frozen), next(iter(reading), ""))
        return [n for n in (beside, self.api.first) if n]

    # -------------------------------------------------------------------------------------------------------- ask
    async def home(self, request: Request) -> Response:
        """Show the form, with a test question filled in where one is named."""
        given, id = request.query_params.get("rows", ""), request.query_params.get("id", "")
        chosen = [self.api.name(n) for n in given.split(",") if n][:MOST_ROWS] or self.pair()
        question = None
        if id:
            stored = await run_in_threadpool(lambda: self.stored)
            if id not in stored.questions:
                raise Refused(404, "id: the run has no answered question of this id")
            question = stored.questions[id]
        rows = {
            n: {"passages": r.passages, "rounds": len(r.rounds), "remote": bool(r.endpoint)}
            for n, r in self.api.rows.items()
        }
        told = {"rows": rows, "chosen": chosen, "most": MOST_ROWS, "places": PLACES}
        told["question"] = {**asdict(question), "gold": question.gold} if question else None
        return self.page("ask", told=told)

    async def ask(self, request: Request) -> Response:
        """Answer a question of the page, and say why these passages."""
        asked = await read(request, AskRequest)
        name = self.api.name(asked.model)
        passages = None if asked.passages is None else [Passage(**p.model_dump()) for p in asked.passages]
        question = Asked(asked.question, asked.options, passages)
        [job] = self.api.ask("write", name, question)

        async def lines() -> AsyncGenerator[str, None]:
            try:
                async with aclosing(self._told(name, question, asked, job)) as told:
                    async for one in told:
                        yield json.dumps(one, ensure_ascii=False) + "\n"
            except Exception as error:  # the status is sent already
                yield json.dumps({"error": said_of(error)}) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _told(
        self, name: str, question: Asked, asked: AskRequest, job: Job
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what is known of a question, as it is known: passages, the answer as it grows, losses, places."""
        row, said, passages = self.api.rows[name], Said(""), list[Passage]()
        async with aclosing(job) as events:
            async for event in events:
                if isinstance(event, Said):
                    said = event
                    yield {"said": asdict(said)}
                else:
                    passages = event
                    yield {"passages": [asdict(p) for p in passages]}
        chosen = asked.options[said.predicted] if asked.options and said.predicted >= 0 else said.reply
        answer = asked.answer or chosen
        if passages and answer.strip() and not row.endpoint:
            why = Why(Asked(asked.question, asked.options, passages), answer)
            losses = await last_of(*self.api.ask("why", name, why))
            yield {"losses": {"answer": answer, "without": losses[0], "under": losses[1:]}}
        if passages and asked.rounds and len(row.rounds) > 1:
            [moves] = self.api.ask("moves", name, Moves(question, [p.id for p in passages]))
            async with aclosing(moves) as events:
                async for move in events:
                    yield {"move": move}
        yield {"end": True}

    # ----------------------------------------------------------------------------------------------------- browse
    async def browse(self, request: Request) -> Response:
        """Show the test questions that pass a filter."""
        stored = await run_in_threadpool(lambda: self.stored)
        by = self._filter(dict(request.query_params), stored)
        found = stored.chosen(by)
        first = (by.page - 1) * AT_ONCE
        rates = {name: stored.right(name) for name in stored.answers}
        return self.page(
            "browse",
            by=by,
            found=len(found),
            shown=found[first : first + AT_ONCE],
            first=first,
            pages=max(1, -(-len(found) // AT_ONCE)),
            rates=rates,
            outcomes=OUTCOMES,
            moves=MOVES,
            datasets=["", *stored.datasets],
            rows=list(self.api.rows),
        )

    def _filter(self, given: dict[str, str], stored: Stored) -> Filter:
        pair = self.pair()
        allowed = {
            "row": list(self.api.rows), "beside": ["", *self.api.rows], "outcome": OUTCOMES, "move": MOVES,
            "dataset": ["", *stored.datasets], "unparsed": ["", "yes"],
        }  # fmt: skip
        values: dict[str, Any] = {"row": self.api.first, "beside": pair[0] if len(pair) > 1 else ""}
        for key, value in given.items():
            if key == "page" and value.isdecimal() and 0 < int(value) < 1_000_000:
                values["page"] = int(value)
            elif key not in allowed or value not in allowed[key]:
                raise Refused(
                    422, f"filter: allowed: {', '.join(allowed)}, page, each with a value that the page offers"
                )
            else:
                values[key] = value
        return Filter(**values)

    # ---------------------------------------------------------------------------------------------------- compare
    async def compare(self, request: Request) -> Response:
        """Show this run beside the other one."""
        compared = await run_in_threadpool(lambda: self.compared)
        system = request.query_params.get("row", "") or next(
            (s for s in (self.api.first, *compared.systems) if s in compared.systems), ""
        )
        if system and system not in compared.systems:
            raise Refused(404, f"row: both runs have: {', '.join(compared.systems)}")
        texts = {i: q.question for i, q in (await run_in_threadpool(lambda: self.stored)).questions.items()}
        rows = {"rows": system} if system in self.api.rows else {}
        return self.page("compare", compared=compared, system=system, rows=rows, texts=texts, most=AT_ONCE)


def link(path: str, **values: Any) -> str:
    """Return an address on this server.

    >>> link("/browse", row="jmlr", page=2)
    '/browse?row=jmlr&page=2'
    """
    return f"{path}?{urlencode(values)}" if values else path
