"""What a server's body says: a fault, also where it comes with status 200, and text that can be stored.

    fault_in({"error": {"message": "overloaded", "code": 503}})                     # Fault(503, "overloaded", "503")
    fault_in({"choices": [{"finish_reason": "abort", "message": {...}}]})           # Fault(500, "... 'abort'", "abort")
    fault_in({"choices": [{"finish_reason": "stop", "message": {...}}]})            # None

Seen: OpenRouter puts an error into the body or the choice of a 200; vLLM and SGLang end a broken generation with
finish_reason "abort" or "error"; FastChat and older vLLM answer {"object": "error", "message": ...}; FastAPI {"detail": ...}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

BROKEN = ("error", "abort", "aborted")  # finish reasons of a generation that was not ended by the model or a limit
AGAIN = {408, 409, 425, 429}  # beside 5xx
NAMED = {  # part of a code or type -> the status that it stands for, where a server names none
    "rate_limit": 429,
    "invalid_api_key": 401,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "invalid_request": 400,
    "context_length": 400,
}


@dataclass(frozen=True)
class Fault:
    """A refusal: its HTTP status, the server's words, and its code."""

    status: int
    message: str = ""
    code: str = ""

    @property
    def passing(self) -> bool:
        """Whether another attempt may help."""
        return (self.status in AGAIN or self.status >= 500) and self.code != "insufficient_quota"


def fault_in(body: Any) -> Fault | None:
    """Return the fault that the parsed body of a reply with status 200 holds; None if it holds none."""
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    for place in (body, choice):
        if place.get("error") or place.get("object") == "error":
            message, code = _reason(place)
            return Fault(_status(place, code), message, code)
    finish = choice.get("finish_reason")
    if finish in BROKEN:
        return Fault(500, f"it broke the reply off, finish_reason '{finish}'", str(finish))
    if not choices and _reason(body)[0]:
        message, code = _reason(body)
        return Fault(_status(body, code), message, code)
    return None


def reason_of(raw: bytes) -> tuple[str, str]:
    """Return (what a server says of its refusal, the code of the fault); empty where it says nothing."""
    try:
        return _reason(json.loads(raw))
    except (ValueError, RecursionError):
        return "", ""


def whole(text: str) -> str:
    """Return a text that can be encoded: halves of surrogate pairs joined, those that stand alone as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _reason(body: Any) -> tuple[str, str]:
    """Return the message and the code of a body, in the forms that servers have."""
    if not isinstance(body, dict):
        return "", ""
    fault = next((body[k] for k in ("error", "detail", "errors", "message") if body.get(k)), None)
    held = fault if isinstance(fault, dict) else body
    if isinstance(fault, list):  # FastAPI: a fault for each field; its "input" may be the prompt
        message = "; ".join(
            str(f.get("msg") or f.get("message") or "") if isinstance(f, dict) else str(f) for f in fault
        )
    else:
        message = str(fault.get("message") or "") if isinstance(fault, dict) else str(fault or "")
    code = held.get("code") or held.get("type") or ""
    return whole(message), whole(str(code)) if isinstance(code, (str, int)) else ""


def _status(place: dict[str, Any], code: str) -> int:
    """Return the HTTP status that a fault names, else the one that its code or type stands for, else 500."""
    fault = place.get("error")
    held = fault if isinstance(fault, dict) else place
    for value in (held.get("code"), held.get("status"), held.get("status_code")):
        if str(value).isdecimal() and 400 <= int(str(value)) < 600:
            return int(str(value))
    words = f"{code} {held.get('type')}".lower()
    return next((status for name, status in NAMED.items() if name in words), 500)
