"""A hub on this machine: what huggingface_hub asks to make a repository, send files (inline and by LFS) and commit them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_notarealtoken"
LFS = (".safetensors",)


class Hub:
    """Keeps `repos` (name -> private, branches of name -> bytes); `refuse` maps a part of a path to the status it is answered with."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []
        self.seen: list[tuple[str, str]] = []
        self.refuse: dict[str, int] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("transfer-encoding") == "chunked":
                    body = self._chunks()
                outer.seen.append((self.command, self.path))
                status = next((s for part, s in outer.refuse.items() if part in self.path), 0)
                if not status and not self.path.startswith("/lfs/"):  # a storage is asked with a signed address
                    status = 0 if self.headers.get("authorization") == f"Bearer {TOKEN}" else 401
                answer = {"error": "no"} if status else outer.answer(self.command, self.path, body)
                self._send(status or (404 if answer is None else answer.pop("status", 200)), answer or {})

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def _chunks(self) -> bytes:
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, *_: Any) -> None:
                pass

            do_GET = do_POST = do_PUT = _serve  # noqa: N815

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | None:
        """Return what the hub answers; None: there is no such thing."""
        path = path.split("?")[0]
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path.startswith("/lfs/"):
            self.stored[path.removeprefix("/lfs/")] = body
            return {}
        if found := re.fullmatch(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body))
        found = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(\w+)/([\w.-]+))?", path)
        if not found or found[1] not in self.repos:
            return None
        name, what, revision = found.groups()
        repo = self.repos[name]
        if what == "branch":
            known = revision in repo["branches"]
            repo["branches"].setdefault(revision, dict(repo["branches"]["main"]))
            return {"status": 409} if known else {}
        if what in ("preupload", "commit") and revision not in repo["branches"]:
            return None
        if what == "preupload":
            files = json.loads(body)["files"]
            modes = {f["path"]: "lfs" if f["path"].endswith(LFS) else "regular" for f in files}
            return {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]}
        if what == "commit":
            return self._commit(name, revision, [json.loads(line) for line in body.splitlines()])
        siblings = [{"rfilename": n} for n in repo["branches"]["main"]]
        return {"id": name, "private": repo["private"], "siblings": siblings, "tags": [], "sha": "0" * 40}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        known = name in self.repos
        private = asked.get("visibility", "public") == "private"
        self.repos.setdefault(name, {"private": private, "branches": {"main": {".gitattributes": b""}}})
        return {"url": f"{self.url}/{name}", **({"status": 409} if known else {})}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.url}/lfs/{o['oid']}", "header": {}}}} for o in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _commit(self, name: str, revision: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        files = self.repos[name]["branches"][revision]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
                assert hashlib.sha256(files[value["path"]]).hexdigest() == value["oid"]
            else:
                self.commits.append(value)
        return {"commitUrl": f"{self.url}/{name}/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True}
