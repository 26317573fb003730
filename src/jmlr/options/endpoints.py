"""Options of an OpenAI-compatible endpoint, and of `judge`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from jmlr.options.base import Closed, Count, Name, Positive, Rate, numeric, option

OURS = {"model", "messages", "prompt", "stream", "n", "max_tokens", "max_completion_tokens"}
LOCAL = {"localhost", "127.0.0.1", "::1"}


class EndpointOptions(Closed):
    """A language model behind an OpenAI-compatible server: a hosted one, or vLLM, llama.cpp, ... on this machine."""

    base_url: str = option(
        ..., "address of the server, up to and without /chat/completions, e.g. https://api.openai.com/v1"
    )
    model: str = option(..., "name of the model at that server", min_length=1)
    api: Literal["chat", "completions"] = option(
        "chat", "chat: one message of the user; completions: the model goes on from the prompt (base models)"
    )
    key_env: str = option("", "NAME of the environment variable that holds the key; empty: none is sent")
    request: dict[str, Any] = option(
        lambda: {"temperature": 0}, "further fields of every request, e.g. temperature, seed, top_p"
    )
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = option(
        "max_tokens", "what the server calls the most tokens of a reply"
    )
    parallel: Positive = option(4, "requests under way at a time")
    requests_per_minute: Rate = option(0.0, "most requests a minute in one job; 0: no limit of ours")
    timeout_s: Annotated[float, Field(gt=0), numeric] = option(
        120.0, "seconds for one request, from the first byte to the last"
    )
    tries: Positive = option(6, "attempts at one request before the job fails")
    longest_wait_s: Rate = option(300.0, "a server that asks for a longer pause (Retry-After) ends the job")
    price_in: Rate = option(0.0, "price of 1,000 tokens sent")
    price_out: Rate = option(0.0, "price of 1,000 tokens received")
    most_cost: Rate = option(
        0.0, "the most that may ever be spent on this model with this cache folder, in the prices' unit; 0: no cap"
    )
    cache: str = option("cache/endpoints", "folder of the replies by digest of their request; a rerun pays nothing")

    @property
    def on_this_machine(self) -> bool:
        """Whether the server runs on the machine that asks it."""
        return urlsplit(self.base_url).hostname in LOCAL

    @model_validator(mode="after")
    def _is_safe(self) -> EndpointOptions:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url '{self.base_url}': an address like https://host/v1 is wanted")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url: it must hold no user, password, query or fragment; a key comes from key_env")
        if self.key_env and parts.scheme == "http" and not self.on_this_machine:
            raise ValueError(f"base_url '{self.base_url}': http would send the key in the clear; use https")
        if taken := sorted(OURS & set(self.request)):
            raise ValueError(f"request: '{taken[0]}' is set by the program, not here")
        if self.most_cost and not (self.price_in or self.price_out):
            raise ValueError("most_cost: a cap needs price_in and price_out")
        return self


class JudgeOptions(Closed):
    """Options of `judge`: pairwise comparison of systems' answers by language models."""

    judges: list[Name] = option(
        list, "who judges: keys of endpoints or models; empty: nobody; two or more: their agreement is measured too"
    )
    pairs: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = option(
        list, "pairs of systems to compare, e.g. [[jmlr, rag]]"
    )
    judged_questions: Count = option(100, "questions compared, drawn by the digest of their ids; 0: all")
    show_key: bool = option(True, "show the judge the right answer")
    judge_tokens: Positive = option(512, "most tokens of a verdict with its reasons")
    judge_batch: Positive = option(4, "verdicts at a time, where a local model judges")
    judge_chat: bool = option(True, "a local judge gets its prompt in its tokenizer's chat template")
    judge_chat_template_kwargs: dict[str, Any] = option(
        dict, "judge_chat: what else the template is told, e.g. {enable_thinking: false}"
    )
    judge_bootstrap: Positive = option(2000, "bootstrap samples for the 95 % intervals")
