"""What may be asked over HTTP, and a message's question with its options.

    ChatRequest.model_validate_json(body)
    question_in("Which drug?\\nA. aspirin\\nB. colchicine", lead="Question:", last="Answer:")   # ("Which drug?", ["aspirin", ...])

Fields that change what is asked for, and that a row cannot follow, are refused; those that only tune sampling are not
looked at, since a row answers greedily, as in its run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from jmlr.corpus.prompt import LETTERS

Text = Annotated[str, Field(max_length=200_000)]


def offered(options: list[str]) -> list[str]:
    """Return options; raise ValueError for those of which no question can be made, as `prepare` does."""
    plain = [" ".join(option.split()) for option in options]
    if len(plain) == 1:
        raise ValueError("1 is given; allowed: none, or 2 to 26")
    if "" in plain:
        raise ValueError(f"{LETTERS[plain.index('')]} is empty")
    if plain and len(set(plain)) == 1:
        raise ValueError("all are the same text, so that any answer is right")
    return options


def _each_once(options: list[str]) -> list[str]:
    plain = [" ".join(option.split()) for option in options]
    if second := next((n for n, option in enumerate(plain) if option in plain[:n]), 0):
        first = LETTERS[plain.index(plain[second])]
        raise ValueError(f"{first} and {LETTERS[second]} are the same text; allowed: each once")
    return options


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


Options = Annotated[list[Annotated[str, Field(max_length=4000)]], Field(max_length=26), AfterValidator(offered)]
Filled = Annotated[Text, AfterValidator(_filled)]
MOST_PASSAGES, MOST_TOKENS = 100, 4096
REFUSED = ("tools", "functions", "response_format", "logit_bias", "suffix", "modalities", "audio", "dimensions")
OPTION = re.compile(r"^\s*[(\[]?([A-Z])[.):\]]\s*(\S.*?)\s*$")


class Request(BaseModel):
    """What every request has."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    model: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _can_be_followed(self) -> Request:
        given = self.model_extra or {}
        plain: dict[str, list[Any]] = {"response_format": [{"type": "text"}], "modalities": [["text"]]}
        for name in REFUSED:
            if given.get(name) and given[name] not in plain.get(name, ()):
                raise ValueError(f"{name}: a row of this run cannot follow it; leave it out")
        for name in ("n", "best_of"):
            if given.get(name) not in (None, 1):
                raise ValueError(f"{name}: allowed: 1, since answers are greedy")
        return self


class Streamed(BaseModel):
    """How a stream ends."""

    include_usage: bool = False


class Part(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[Part] | None = None

    @property
    def text(self) -> str:
        """The words of the turn."""
        return self.content if isinstance(self.content, str) else "".join(p.text for p in self.content or ())


class Written(Request):
    """A request whose reply is written."""

    stream: bool = False
    stream_options: Streamed | None = None
    max_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=64)] | None = None

    @property
    def stops(self) -> list[str]:
        """What ends a reply."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [s for s in given if s]


class ChatRequest(Written):
    """Body of /v1/chat/completions; `options` are ours."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    options: Annotated[Options, AfterValidator(_each_once)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _asks(self) -> ChatRequest:
        if not self.question.strip():
            raise ValueError("messages: the last one of role 'user' is the question, and there is none, or it is empty")
        if (self.model_extra or {}).get("logprobs"):
            raise ValueError("logprobs: allowed in /v1/completions")
        return self

    @property
    def question(self) -> str:
        """The last turn of the user: a question stands alone, as in training."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class CompletionRequest(Written):
    """Body of /v1/completions."""

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=128)]
        | Annotated[list[list[int]], Field(min_length=1, max_length=128)]
        | Annotated[list[int], Field(min_length=1, max_length=100_000)]
    )
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _can_be_told(self) -> CompletionRequest:
        if self.logprobs is not None and not self.echo:
            raise ValueError("logprobs: allowed with echo: true, which tells those of the prompt")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: allowed: 1 or more, or echo: true")
        if self.echo and (self.stream or (self.max_tokens or 0) > 1):
            raise ValueError("echo: allowed with max_tokens 0 or 1, and without stream")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or tokens."""
        given: Any = self.prompt
        return [given] if isinstance(given, str) or isinstance(given[0], int) else list(given)


class EmbeddingRequest(Request):
    """Body of /v1/embeddings; `side` is ours: retrievers may encode queries and passages in two ways."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    side: Literal["query", "passage"] = "query"

    @property
    def texts(self) -> list[str]:
        """The texts to encode."""
        return [self.input] if isinstance(self.input, str) else self.input


class SearchRequest(Request):
    """Body of /search."""

    query: Filled
    options: Options = Field(default_factory=list)
    k: Annotated[int, Field(ge=1, le=1000)] = 10


class Given(BaseModel):
    """A passage as the page sends it back, perhaps edited."""

    id: Annotated[str, Field(max_length=500)] = ""
    title: Text = ""
    text: Text
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None


class AskRequest(Request):
    """Body of /ask, the page's own: what `jmlr.serving.pages` streams."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    question: Filled
    options: Options = Field(default_factory=list)
    passages: Annotated[list[Given], Field(max_length=MOST_PASSAGES)] | None = None
    answer: Text = ""
    rounds: bool = True


def question_in(
    message: str, lead: str = "", last: Sequence[str] = (), *, anywhere: bool = False
) -> tuple[str, list[str]]:
    """Return a message's question and its options, where it ends in lines such as 'A. text'.

    Args:
        message: as somebody wrote it, or as a program did for a prompt.
        lead: with which the question begins in a program's prompts; the last one counts, and what stands before it does not.
        last: words before an answer; in a program's prompt they end the question, with all that follows.
        anywhere: the question may begin within a line, as where a tokenizer has lost the lines.

    >>> question_in("Reference: x\\nQuestion: Which?\\nA. a\\nB. b\\nAnswer: a", "Question:", ["Answer:"])
    ('Which?', ['a', 'b'])
    >>> question_in("Is B. subtilis a bacterium?")
    ('Is B. subtilis a bacterium?', [])
    """
    begun = (
        list(re.finditer(("" if anywhere else r"^\s*") + re.escape(lead.strip()), message, re.M))
        if lead.strip()
        else []
    )
    text = message[begun[-1].end() :] if begun else message
    ends = [at for words in last if begun and words.strip() and (at := text.rfind(words.strip())) > 0]
    lines = text[: min(ends, default=None)].strip().split("\n")
    for n in range(1, len(lines)):
        options = _options(lines[n:])
        behind = [line for line in lines[n + len(options) :] if line.strip()]
        if len(options) >= 2 and (begun or len(behind) <= 1):
            return "\n".join(lines[:n]).strip(), options
    return "\n".join(lines).strip(), []


def _options(lines: Sequence[str]) -> list[str]:
    """Return the options of lines A, B, C, ... from the first one on."""
    found = []
    for letter, line in zip(LETTERS, lines, strict=False):
        if not (option := OPTION.match(line)) or option[1] != letter:
            break
        found.append(option[2])
    return found
