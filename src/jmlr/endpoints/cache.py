"""Replies on disk by the digest of their request, so that the same question is paid for once.

    cache = ReplyCache(Path("cache/endpoints"))
    digest = request_digest("https://host/v1", {"model": "m", "messages": [...]})
    cache.get(digest)            # None, or the reply
    cache.put(digest, reply)     # appears whole or not at all

A file holds the reply, its tokens and its price, with a checksum; neither the request nor a key. A file that was cut or
changed is never used: it is as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jmlr.endpoints.replies import BROKEN
from jmlr.runtime.files import fresh_file


@dataclass(frozen=True)
class Reply:
    """What a model said: its text, why it stopped ("stop", "length", ...), and what was counted for it."""

    text: str
    finish: str
    tokens_in: int
    tokens_out: int
    cost: float


def request_digest(base_url: str, body: dict[str, Any]) -> str:
    """Return the SHA-256 of a request: where it goes and everything that is asked, in one canonical form."""
    canonical = json.dumps([base_url.rstrip("/"), body], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class ReplyCache:
    """A folder of replies, `ab/abcd....json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Return where the reply to a request lies."""
        return self.folder / digest[:2] / f"{digest}.json"

    def get(self, digest: str) -> Reply | None:
        """Return the reply, or None where there is none that is whole."""
        try:
            held = json.loads(self.path(digest).read_text(encoding="utf-8"))
            reply = Reply(**held["reply"])
            kept = held["sha256"] == _checksum(digest, reply) and reply.finish not in BROKEN
            return reply if kept else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, digest: str, reply: Reply) -> None:
        """Keep a reply."""
        content = {"reply": asdict(reply), "sha256": _checksum(digest, reply)}
        with fresh_file(self.path(digest)) as target:
            target.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _checksum(digest: str, reply: Reply) -> str:
    content = json.dumps([digest, asdict(reply)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
