"""Ask a language model behind an OpenAI-compatible server (POST {base_url}/chat/completions, or /completions).

    client = Client(**EndpointOptions(base_url="https://host/v1", model="gpt-4").model_dump())
    replies = client.ask(["Which option ...?"], most_tokens=16)      # [Reply], in the order of the prompts

Every reply is kept on disk by the digest of its request and never asked for again. A busy or broken server is asked again
after a pause that doubles each time, with jitter, and is never shorter than it wants (Retry-After). The key is read from
the environment when a request is sent, goes into one header, and nowhere else. No message repeats it, or a prompt.
"""

from __future__ import annotations

import email.utils
import json
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from jmlr.endpoints.budget import Ledger, Pace
from jmlr.endpoints.cache import Reply, ReplyCache, request_digest
from jmlr.endpoints.replies import Fault, fault_in, reason_of, whole
from jmlr.runtime.environment import expand
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say

MOST_BYTES = 16 << 20  # of one reply
LONGEST_BACKOFF_S = 60.0
FRAME_TOKENS = 64  # a server's own tokens around a message; a token of text is at least one byte


class _AgainError(Exception):
    """This attempt came to nothing but another may not.

    `billed`: the server may charge for it all the same, as much as was set aside, or `cost` where it counted its tokens.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0, billed: bool = False, cost: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s, self.billed, self.cost = wait_s, billed, cost


class _StoppedError(Exception):
    """Another request of the same batch failed for good."""


@dataclass
class Client:
    """One endpoint; fields as in `jmlr.options.EndpointOptions`."""

    base_url: str
    model: str
    api: str = "chat"
    key_env: str = ""
    request: dict[str, Any] = field(default_factory=lambda: {"temperature": 0})
    tokens_field: str = "max_tokens"
    parallel: int = 4
    requests_per_minute: float = 0.0
    timeout_s: float = 120.0
    tries: int = 6
    longest_wait_s: float = 300.0
    price_in: float = 0.0
    price_out: float = 0.0
    most_cost: float = 0.0
    cache: str = "cache/endpoints"
    first_wait_s: float = 1.0

    def __post_init__(self) -> None:
        folder = Path(expand(self.cache, "endpoints: cache"))
        self._cache, self._ledger = ReplyCache(folder), Ledger(folder, f"{self.base_url} {self.model}", self.most_cost)
        self._pace, self._stop, self._counting = Pace(self.requests_per_minute), threading.Event(), threading.Lock()
        self.figures: dict[str, float] = {"requests": 0, "cached": 0, "retries": 0, "tokens_in": 0, "tokens_out": 0, "cost": 0.0}  # fmt: skip
        local = urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")
        self._http = httpx2.Client(timeout=self.timeout_s, follow_redirects=False, trust_env=not local)

    def ask(self, prompts: Sequence[str], most_tokens: int, each: Callable[[], None] | None = None) -> list[Reply]:
        """Return the reply to every prompt.

        Args:
            prompts: one user message each; the same message is sent once
            most_tokens: of a reply
            each: called once for each different prompt when its reply is there

        Raises:
            UserError: the server refuses, stays out of order or is too slow, or the cap would be exceeded. Replies so far
                are kept.
        """
        self._stop.clear()
        with ThreadPoolExecutor(self.parallel) as pool:
            jobs = {pool.submit(self._attempt, prompt, most_tokens): prompt for prompt in dict.fromkeys(prompts)}
            try:
                for job in as_completed(jobs):
                    if isinstance(job.exception(), _StoppedError):
                        continue  # the request that failed says why
                    job.result()
                    if each:
                        each()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            found = {prompt: job.result() for job, prompt in jobs.items()}
        return [found[prompt] for prompt in prompts]

    def _attempt(self, prompt: str, most_tokens: int) -> Reply:
        """Get one reply; a failure stops all other requests at once, before they cost anything more."""
        try:
            return self._reply(prompt, most_tokens)
        except BaseException:
            self._stop.set()
            raise

    def _reply(self, prompt: str, most_tokens: int) -> Reply:
        said = {"messages": [{"role": "user", "content": prompt}]} if self.api == "chat" else {"prompt": prompt}
        body = {"model": self.model, **said, self.tokens_field: most_tokens, **self.request}
        digest = request_digest(self.base_url, body)
        if (held := self._cache.get(digest)) is not None:
            self._count(cached=1)
            return held
        reply = self._until_answered(body, prompt, most_tokens)
        self._cache.put(digest, reply)
        self._count(requests=1, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out, cost=reply.cost)
        return reply

    def _until_answered(self, body: dict[str, Any], prompt: str, most_tokens: int) -> Reply:
        bound = len(prompt.encode()) + FRAME_TOKENS
        for attempt in range(1, self.tries + 1):
            self._pace.wait()
            if self._stop.is_set():
                raise _StoppedError
            with self._ledger.reserved(self._price(bound, most_tokens)) as account:
                try:
                    reply = self._send(body, prompt, (bound, most_tokens))
                    account.paid = reply.cost
                    return reply
                except _AgainError as error:
                    account.paid = (account.reserved if error.cost is None else error.cost) if error.billed else 0.0
                    reason, wait_s = str(error), error.wait_s
                except UserError:
                    account.paid = 0.0  # refused
                    raise
            if wait_s > self.longest_wait_s:
                raise self._error(f"{reason}; it asks for a pause of {wait_s:.0f} s (longest_wait_s: {self.longest_wait_s:g}); run again later")  # fmt: skip
            if attempt < self.tries:
                self._pause(attempt, reason, wait_s)
        raise self._error(f"{reason}, {self.tries} times")

    def _pause(self, attempt: int, reason: str, wait_s: float) -> None:
        """Wait before the next attempt: exponential backoff with jitter, and never less than the server asks for."""
        backoff = min(LONGEST_BACKOFF_S, self.first_wait_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        pause = max(backoff, wait_s + random.uniform(0.0, 0.1) * self.first_wait_s)
        self._count(retries=1)
        say(f"endpoint {self.model}: {reason}; attempt {attempt + 1} of {self.tries} in {pause:.1f} s")
        if self._stop.wait(pause):
            raise _StoppedError

    def _send(self, body: dict[str, Any], prompt: str, bounds: tuple[int, int]) -> Reply:
        """Send one request and read its reply; raise _AgainError where another attempt may help, else UserError."""
        headers = {"Authorization": f"Bearer {self._key()}"} if self.key_env else {}
        deadline = time.monotonic() + self.timeout_s
        url = self.base_url.rstrip("/") + ("/chat/completions" if self.api == "chat" else "/completions")
        try:
            with self._http.stream("POST", url, json=body, headers=headers) as answer:
                raw = self._read(answer, deadline)
        except httpx2.ConnectError:
            raise _AgainError("no connection") from None
        except httpx2.TimeoutException:
            raise _AgainError(f"no whole reply within {self.timeout_s:g} s", billed=True) from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _AgainError(f"the connection broke ({type(error).__name__})", billed=True) from None
        said_wait = _seconds(answer.headers.get("retry-after", ""))
        if answer.status_code != 200:
            raise self._refused(Fault(answer.status_code, *reason_of(raw)), prompt, said_wait)
        return self._parsed(raw, answer.headers.get("content-type", ""), prompt, bounds, said_wait)

    def _read(self, answer: Any, deadline: float) -> bytes:
        """Return the body; httpx bounds the wait for each piece, and this the whole."""
        raw = bytearray()
        for piece in answer.iter_bytes():
            raw += piece
            if time.monotonic() > deadline:
                raise httpx2.ReadTimeout("deadline")
            if len(raw) > MOST_BYTES:
                raise _AgainError(f"a reply of more than {MOST_BYTES >> 20} MiB", billed=True)
        return bytes(raw)

    def _parsed(self, raw: bytes, kind: str, prompt: str, bounds: tuple[int, int], wait_s: float) -> Reply:
        """Return the reply in a body; one that says it is JSON is believed as little as one that says it is text."""
        try:
            held = json.loads(raw)
        except (ValueError, RecursionError):
            kind = kind.split(";")[0].strip()
            raise _AgainError(f"a reply of type '{kind}' that is not whole JSON", billed=True) from None
        sent, got, counted = _counts(held, bounds)
        if fault := fault_in(held):
            raise self._refused(fault, prompt, wait_s, billed=counted, cost=self._price(sent, got))
        try:
            choice = held["choices"][0]
            said = choice["message"] if self.api == "chat" else {"content": choice["text"]}
            text = said.get("content") or said.get("refusal") or ""
            if isinstance(text, list):  # content in parts
                text = "".join(part["text"] for part in text)
            if not isinstance(text, str):
                raise TypeError
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _AgainError("a reply without a choice", billed=True) from None
        return Reply(whole(text), whole(str(choice.get("finish_reason") or "")), sent, got, self._price(sent, got))

    def _refused(
        self, fault: Fault, prompt: str, wait_s: float, *, billed: bool = False, cost: float | None = None
    ) -> Exception:
        """Return what to raise for a status other than 200, be it of HTTP or named in a body that came with 200."""
        message = self._without_secrets(fault, prompt)
        said = f"the server answers {fault.status}{f' ({message})' if message else ''}"
        if fault.passing:
            return _AgainError(said, wait_s=wait_s, billed=billed, cost=cost)
        if fault.status in (401, 403):
            said += f"; is the key in {self.key_env} right?" if self.key_env else "; it wants a key: set key_env"
        return self._error(said)

    def _without_secrets(self, fault: Fault, prompt: str) -> str:
        """Return what a server says about its fault, without the key or any part of the prompt: then the code alone."""
        text = fault.message
        if self.key_env and (key := os.environ.get(self.key_env)):
            text = text.replace(key, "***")
        asked = " ".join(prompt.split())
        text = " ".join(text.split())[:200]
        told = bool(text) and any(text[i : i + 24] in asked for i in range(max(len(text) - 23, 1)))
        return fault.code if told else text

    def _key(self) -> str:
        key = os.environ.get(self.key_env, "")
        if not key:
            raise self._error(f"the environment variable {self.key_env} (key_env) is not set")
        return key

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1000

    def _error(self, text: str) -> UserError:
        return UserError(f"endpoint '{self.model}' at {self.base_url}: {text}")

    def _count(self, **more: float) -> None:
        with self._counting:
            for key, value in more.items():
                self.figures[key] += value


def _counts(held: Any, bounds: tuple[int, int]) -> tuple[int, int, bool]:
    """Return the tokens sent and received, and whether the server counted them; what is no number is taken at its bound."""
    usage = held.get("usage") if isinstance(held, dict) else None
    said = [usage.get(k) if isinstance(usage, dict) else None for k in ("prompt_tokens", "completion_tokens")]
    counted = [n for n in said if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    return (counted[0], counted[1], True) if len(counted) == 2 else (*bounds, False)


def _seconds(header: str) -> float:
    """Read Retry-After: seconds, or a date; 0 where it says nothing."""
    try:
        return max(float(header), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0
