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
from jmlr.runtime.environment import expand
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
MOST_BYTES = 16 << 20  # of one reply
LONGEST_BACKOFF_S = 60.0
FRAME_TOKENS = 64  # a server's own tokens around a message; a token of text is at least one byte


class _AgainError(Exception):
    """This attempt came to nothing but another may not; `billed`: the server may charge for it all the same."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, billed: bool = False) -> None:
        super().__init__(reason)
        self.wait_s, self.billed = wait_s, billed


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
                    account.paid = account.reserved if error.billed else 0.0
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
        if answer.status_code != 200:
            raise self._refused(answer, raw, prompt)
        kind = answer.headers.get("content-type", "").split(";")[0].strip()
        if not kind.endswith("json"):
            raise _AgainError(f"a reply of type '{kind}' instead of JSON", billed=True)
        return self._parsed(raw, bounds)

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

    def _parsed(self, raw: bytes, bounds: tuple[int, int]) -> Reply:
        try:
            held = json.loads(raw)
        except ValueError:
            raise _AgainError("a reply that is not whole JSON", billed=True) from None
        try:
            choice = held["choices"][0]
            said = choice["message"] if self.api == "chat" else {"content": choice["text"]}
            text = said.get("content") or said.get("refusal") or ""
            finish, usage = str(choice.get("finish_reason") or ""), held.get("usage") or {}
            sent, got = int(usage.get("prompt_tokens", bounds[0])), int(usage.get("completion_tokens", bounds[1]))
            if not isinstance(text, str):
                raise TypeError
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise _AgainError("a reply without a choice", billed=True) from None
        return Reply(text, finish, sent, got, self._price(sent, got))

    def _refused(self, answer: Any, raw: bytes, prompt: str) -> Exception:
        """Return what to raise for a status other than 200."""
        message, code = self._message(raw, prompt)
        status = answer.status_code
        said = f"the server answers {status}{f' ({message})' if message else ''}"
        if status in AGAIN and code != "insufficient_quota":
            return _AgainError(said, wait_s=_seconds(answer.headers.get("retry-after", "")))
        if status in (401, 403):
            said += f"; is the key in {self.key_env} right?" if self.key_env else "; it wants a key: set key_env"
        return self._error(said)

    def _message(self, raw: bytes, prompt: str) -> tuple[str, str]:
        """Return what a server says about its refusal, without the key or any part of the prompt, and the code of the fault."""
        try:
            fault = json.loads(raw)["error"]
            text, code = (str(fault.get("message", "")), str(fault.get("code", ""))) if isinstance(fault, dict) else (str(fault), "")  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return "", ""
        if self.key_env and (key := os.environ.get(self.key_env)):
            text = text.replace(key, "***")
        text = " ".join(text.split())[:200]
        told = (
            any(text[i : i + 24] in " ".join(prompt.split()) for i in range(max(len(text) - 23, 1))) if text else False
        )
        return (code if told else text), code

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
