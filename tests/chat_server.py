"""A real HTTP server on this machine that speaks the chat-completions protocol, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jmlr.endpoints.client import Client
from jmlr.options import EndpointOptions


class Server:
    """Answers with `talk(prompt)`; before that the faults of `plan`, one for each request."""

    def __init__(self) -> None:
        self.plan: list[Callable[[Any], None]] = []
        self.seen: list[dict[str, Any]] = []
        self.talk: Callable[[str], str] = lambda prompt: "A"
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer.lock:
                    outer.seen.append({"path": self.path, "headers": dict(self.headers), "body": body, "at": time.monotonic()})  # fmt: skip
                    fault = outer.plan.pop(0) if outer.plan else None
                fault(self) if fault else outer.send(self, outer.reply(body))

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a whole reply of the protocol."""
        chat = "messages" in body
        text = self.talk(body["messages"][0]["content"] if chat else body["prompt"])
        said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        return {"choices": [{"index": 0, **said, "finish_reason": "stop"}], "usage": usage}

    @staticmethod
    def send(handler: Any, content: Any, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        """Send a reply, whatever it holds."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(raw)

    def status(self, code: int, message: str = "no", error_code: str = "", **headers: str) -> Callable[[Any], None]:
        """Refuse once."""
        return lambda handler: self.send(handler, {"error": {"message": message, "code": error_code}}, code, **headers)

    def raw(self, content: bytes, kind: str = "application/json", **headers: str) -> Callable[[Any], None]:
        """Send once what is not a reply."""
        return lambda handler: self.send(handler, content, 200, kind, **headers)


def client(server: Server, tmp_path: Path, **settings: Any) -> Client:
    """Return a client of the server that waits little and keeps its replies below a folder."""
    given = {"base_url": server.url, "model": "m", "cache": str(tmp_path / "cache"), "tries": 4, **settings}
    return Client(**EndpointOptions(**given).model_dump(), first_wait_s=0.02)


def files(tmp_path: Path) -> list[Path]:
    """Return the replies that were kept."""
    return sorted(p for p in (tmp_path / "cache").glob("??/*") if p.suffix == ".json")
