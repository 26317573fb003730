"""The API: OpenAI's chat completions, completions, models and embeddings, and a search of our own.

    POST /v1/chat/completions {"model": "jmlr", "messages": [{"role": "user", "content": "Which ...?\\nA. ...\\nB. ..."}]}

A model is a row of the run. Beside what OpenAI's clients read, an answer has `jmlr`: the passages as they were read, with
scores, and the probabilities of the options.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jmlr.runtime.errors import UserError
from jmlr.serving.batching import Batcher, BusyError, Job
from jmlr.serving.http import Refused, read, waited
from jmlr.serving.messages import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    SearchRequest,
    offered,
    question_in,
)
from jmlr.serving.row import Row
from jmlr.serving.scoring import Going, Prompt, Scored, words_of
from jmlr.serving.system import Asked, Said
from jmlr.serving.work import Texts

Chunk = dict[str, Any]


class Api:
    """The rows of a run over HTTP."""

    def __init__(self, rows: dict[str, Row], queue: Batcher, first: str) -> None:
        """Serve rows; `first` is the one that answers where a request names none."""
        self.rows, self.queue, self.first, self.begun = rows, queue, first, int(time.time())

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/search", self.search, methods=["POST"]),
        ]

    def name(self, asked: str) -> str:
        """Return the row that a request names."""
        if (name := asked or self.first) not in self.rows:
            raise Refused(404, f"model: there is no such row; allowed: {', '.join(self.rows)}")
        return name

    def ask(self, kind: str, system: str, *asked: Any) -> list[Job]:
        """Return questions on their way; raise Refused where too many wait."""
        try:
            return self.queue.ask(kind, system, *asked)
        except BusyError as error:
            raise Refused(503, str(error), **{"Retry-After": "1"}) from None

    async def last(self, request: Request, kind: str, system: str, asked: Any) -> Any:
        """Return the last event of a question."""
        return await waited(request, last_of(*self.ask(kind, system, asked)))

    # ----------------------------------------------------------------------------------------------------- models
    def _model(self, name: str) -> Chunk:
        return {"id": name, "object": "model", "created": self.begun, "owned_by": "jmlr"}

    async def models(self, _: Request) -> Response:
        """List the rows; the one that answers by itself comes first."""
        names = sorted(self.rows, key=lambda name: name != self.first)
        return JSONResponse({"object": "list", "data": [self._model(name) for name in names]})

    async def model(self, request: Request) -> Response:
        """Tell one row."""
        return JSONResponse(self._model(self.name(request.path_params["name"])))

    # ------------------------------------------------------------------------------------------------------- chat
    async def chat(self, request: Request) -> Response:
        """Answer the last message of the user."""
        asked = await read(request, ChatRequest)
        name = self.name(asked.model)
        question, options = question_in(asked.question, *words_of(self.rows[name]))
        try:
            options = asked.options or offered(options)
        except ValueError as error:
            raise Refused(422, f"messages: options: {error}") from None
        most = asked.max_completion_tokens or asked.max_tokens or 0
        [job] = self.ask("write", name, Asked(question, options, most_tokens=most))
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if not asked.stream:
            said, ended = await waited(request, _stopped(job, asked.stops))
            choice = {"index": 0, "message": {"role": "assistant", "content": said.reply}, "logprobs": None, "finish_reason": ended}  # fmt: skip
            told = {
                "object": "chat.completion",
                "choices": [choice],
                "usage": _usage(*said.tokens),
                "jmlr": _told(said),
            }
            return JSONResponse({**head, **told})
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        return _events(_chat_stream(job, head, asked.stops, usage))

    # ------------------------------------------------------------------------------------------------ completions
    async def completions(self, request: Request) -> Response:
        """Go on from prompts, or tell the log-probabilities of their tokens, behind the passages of their questions."""
        asked = await read(request, CompletionRequest)
        name = self.name(asked.model)
        row = self.rows[name]
        if row.endpoint or row.answer.chat:
            what = "is behind a server" if row.endpoint else "answers in a chat template"
            raise Refused(422, f"model: row '{name}' {what}; allowed: /v1/chat/completions")
        usual = 1 if asked.echo else row.reading.llm_answer_tokens
        most = usual if asked.max_tokens is None else asked.max_tokens
        prompts = [Prompt(given, asked.logprobs or 0, most) for given in asked.prompts]
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time()), "model": name}  # fmt: skip
        if asked.echo:
            jobs = self.ask("score", name, *prompts)
            told = await waited(request, _all(last_of(job) for job in jobs))
            choices = [_scored(n, one, asked.logprobs) for n, one in enumerate(told)]
            usage = _usage(sum(t.count for t in told), sum(len(t.tokens) - t.count for t in told))
            return JSONResponse({**head, "choices": choices, "usage": usage})
        jobs = self.ask("continued", name, *prompts)
        if asked.stream:
            return _events(_text_stream(jobs, head, asked.stops))
        done = await waited(request, _all(_stopped_text(job, asked.stops) for job in jobs))
        choices = [
            {"index": n, "text": going.text, "logprobs": None, "finish_reason": ended}
            for n, (going, ended) in enumerate(done)
        ]
        usage = _usage(sum(going.read for going, _ in done), sum(going.count for going, _ in done))
        return JSONResponse({**head, "choices": choices, "usage": usage})

    # -------------------------------------------------------------------------------------------------- retriever
    async def embeddings(self, request: Request) -> Response:
        """Encode texts by a row's retriever."""
        asked = await read(request, EmbeddingRequest)
        name = self.name(asked.model)
        vectors, cut = await self.last(request, "embed", name, Texts(asked.texts, asked.side))
        packed = asked.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": n, "embedding": base64.b64encode(v.astype("<f4").tobytes()).decode() if packed else v.tolist()}
            for n, v in enumerate(vectors)
        ]  # fmt: skip
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return JSONResponse({"object": "list", "model": name, "data": data, "usage": usage, "jmlr": {"cut": cut}})

    async def search(self, request: Request) -> Response:
        """Return the best passages of a query."""
        asked = await read(request, SearchRequest)
        name = self.name(asked.model)
        if not self.rows[name].searches:
            raise Refused(422, f"model: row '{name}' reads no passages")
        found, cut = await self.last(request, "search", name, Asked(asked.query, asked.options, count=asked.k))
        return JSONResponse({"model": name, "passages": [asdict(p) for p in found], "cut": cut})


# ------------------------------------------------------------------------------------------------------------- events
async def last_of(job: Job) -> Any:
    """Return the last of a question's events."""
    last = None
    async for event in job:
        last = event
    return last


async def _all(work: Iterable[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*work))


async def _replies(job: Job) -> AsyncGenerator[Said, None]:
    """Yield the answer of a question so far; the passages that come first are in it."""
    async with aclosing(job) as events:
        async for event in events:
            if isinstance(event, Said):
                yield event


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first word that ends it, and whether there was one."""
    at = min((i for stop in stops if (i := text.find(stop)) >= 0), default=-1)
    return (text[:at], True) if at >= 0 else (text, False)


async def _stopped(job: Job, stops: Sequence[str]) -> tuple[Said, str]:
    """Return an answer, and what it ended by."""
    said = Said("")
    async with aclosing(_replies(job)) as replies:
        async for said in replies:
            text, stopped = _cut(said.reply, stops)
            if stopped:
                return replace(said, reply=text.strip()), "stop"
    return said, "stop" if said.ended else "length"


async def _stopped_text(job: Job, stops: Sequence[str]) -> tuple[Going, str]:
    """Return the same of what a prompt goes on with."""
    going = Going()
    async with aclosing(job) as events:
        async for going in events:
            text, stopped = _cut(going.text, stops)
            if stopped:
                return replace(going, text=text), "stop"
    return going, "stop" if going.ended else "length"


class _Growing:
    """A text that grows: what of it is new, with nothing that may turn out to be the beginning of a stop or half a letter."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops, self.sent, self.stopped = stops, "", False
        self.held = max(map(len, stops), default=1) - 1

    def new(self, text: str, last: bool = False) -> str:
        text, self.stopped = _cut(text, self.stops)
        if not (last or self.stopped):
            text = text[: len(text) - self.held].rstrip("\ufffd")
        fresh = text[len(self.sent) :]
        self.sent += fresh
        return fresh


def _events(chunks: AsyncGenerator[Chunk, None]) -> StreamingResponse:
    async def lines() -> AsyncGenerator[str, None]:
        try:
            async with aclosing(chunks) as given:
                async for chunk in given:
                    yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        except Exception as error:  # the status is sent already
            yield f"data: {json.dumps({'error': {'message': said_of(error), 'type': 'server_error'}})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def _chat_stream(job: Job, head: Chunk, stops: Sequence[str], usage: bool) -> AsyncGenerator[Chunk, None]:
    head = {**head, "object": "chat.completion.chunk"}

    def chunk(delta: Chunk, ended: str | None = None, **more: Any) -> Chunk:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": ended}], **more}

    yield chunk({"role": "assistant", "content": ""})
    text, said = _Growing(stops), Said("")
    async with aclosing(_replies(job)) as replies:
        async for said in replies:
            if new := text.new(said.reply.lstrip()):
                yield chunk({"content": new})
            if text.stopped:
                break
    if not text.stopped and (new := text.new(said.reply, last=True)):
        yield chunk({"content": new})
    yield chunk({}, "stop" if said.ended or text.stopped else "length", jmlr=_told(said))
    if usage:
        yield {**head, "choices": [], "usage": _usage(*said.tokens)}


async def _text_stream(jobs: Sequence[Job], head: Chunk, stops: Sequence[str]) -> AsyncGenerator[Chunk, None]:
    """Yield what each prompt goes on with, one prompt after the other."""
    async with AsyncExitStack() as open_jobs:
        for job in jobs:
            await open_jobs.enter_async_context(aclosing(job))
        for n, job in enumerate(jobs):
            text, going = _Growing(stops), Going()
            async for going in job:
                if new := text.new(going.text):
                    yield {**head, "choices": [{"index": n, "text": new, "logprobs": None, "finish_reason": None}]}
                if text.stopped:
                    await job.aclose()
                    break
            rest = "" if text.stopped else text.new(going.text, last=True)
            why = "stop" if going.ended or text.stopped else "length"
            yield {**head, "choices": [{"index": n, "text": rest, "logprobs": None, "finish_reason": why}]}


# -------------------------------------------------------------------------------------------------------------- parts
def said_of(error: BaseException) -> str:
    """Return what may be said of a fault: a line of ours, and nothing that may quote a question."""
    return (
        str(error)
        if isinstance(error, (UserError, Refused, BusyError))
        else f"the server failed ({type(error).__name__})"
    )


def _usage(prompt: int, reply: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}


def _told(said: Said) -> Chunk:
    """Return what is ours of an answer."""
    told = {"passages": [asdict(p) for p in said.read], "probabilities": list(said.probabilities)}
    return {**told, "far": said.far, "cut": said.cut}


def _scored(number: int, told: Scored, top: int | None) -> Chunk:
    """Return a prompt's tokens as /v1/completions tells them."""
    offsets = list(accumulate((len(t) for t in told.tokens), initial=0))[:-1]
    logprobs = None if top is None else {
        "tokens": list(told.tokens), "token_logprobs": list(told.logprobs),
        "top_logprobs": list(told.top), "text_offset": offsets,
    }  # fmt: skip
    return {"index": number, "text": "".join(told.tokens), "logprobs": logprobs, "finish_reason": "length"}
