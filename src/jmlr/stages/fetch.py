"""Stage `fetch`: raw data brought here, from wherever it is, with checksums."""

from __future__ import annotations

import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from jmlr.corpus.quotes import closest, hidden
from jmlr.options import DEFAULT_PROMPTS, PromptOptions, SourceOptions
from jmlr.runtime.environment import expand
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below, matches, sha256
from jmlr.runtime.manifest import NAME, stage_output
from jmlr.runtime.progress import Progress, say

TRIES, WAIT_S, TIMEOUT_S, BLOCK = 3, 2.0, 60, 1 << 20


def fetch(
    out: Path,
    source: str,
    options: SourceOptions,
    prompts: PromptOptions = DEFAULT_PROMPTS,
    local: Path | None = None,
) -> None:
    """Bring the raw files of one source here: generated, copied, from the hub, or downloaded.

    Args:
        out: folder to make; its manifest has the SHA-256 of every file
        source: name of the source
        local: the same as --path, as a file that a workflow can watch; wins where both are given

    Example:
        jmlr fetch --out tables/mine --source mine --path docs/own
    """
    if options.origin != "demo" and not (options.path or local):
        needed = {"local": "a file or folder", "hub": "a dataset id", "url": "an address"}[options.origin]
        raise UserError(f"source '{source}': origin '{options.origin}' needs a path: {needed}")
    if options.files and options.origin not in ("local", "url"):
        raise UserError(f"source '{source}': 'files' chooses from a local folder, and the origin is '{options.origin}'")
    if options.private and options.origin != "local":
        raise UserError(f"source '{source}': private, and origin '{options.origin}'; allowed: local")
    path = "" if options.origin == "demo" else str(local or expand(options.path, f"source '{source}': path"))
    with hidden(options.private), stage_output(out, "fetch", inputs={}, options=[options, prompts]) as (folder, notes):
        if options.origin == "demo":
            from jmlr.demo.world import write_world

            write_world(folder, **options.demo.model_dump(), **prompts.model_dump())
        elif options.origin == "local":
            _copy(folder, Path(path), options.files, source)
        elif options.origin == "hub":
            from jmlr.corpus.hub import write_dataset

            if not options.revision and not Path(path).exists():
                say(
                    f"fetch: source '{source}': no revision given; the newest is taken, and may change under later runs"
                )
            notes["rows"] = write_dataset(folder, path, options.subset, options.revision, source)
        else:
            for name in options.files:
                _download(_within(folder, name, source), f"{path.rstrip('/')}/{name}", source)
            if not options.files:
                _download(folder, path, source)
        _check(folder, options.sha256, source)
        files = files_below(folder)
        notes.update(source=source, files=len(files), bytes=sum(p.stat().st_size for p in files.values()))


def _copy(folder: Path, path: Path, patterns: list[str], source: str) -> None:
    """Copy a file, or the files of a folder that match one of the patterns."""
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"source '{source}': there is no '{path}'{closest(path.name, beside)}")
    names, taken = files_below(path), files_below(path, patterns)
    if path.is_file() and not taken:
        raise UserError(f"source '{source}': '{path}' matches none of 'files': {', '.join(patterns)}")
    if not names:
        raise UserError(f"source '{source}': the folder '{path}' has no files")
    for pattern in patterns if path.is_dir() else ():
        if not any(matches(n, pattern) for n in names):
            raise UserError(f"source '{source}': no file of '{path}' matches '{pattern}'{closest(pattern, names)}")
    for name, file in taken.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)


def _within(folder: Path, name: str, source: str) -> Path:
    """Make and return the folder that a name below an address is in, so that no file replaces one of its name elsewhere."""
    below = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(name).path)).parent
    if below.is_absolute() or ".." in below.parts:
        raise UserError(f"source '{source}': files: '{name}'; allowed: names below the address, without '..'")
    (folder / below).mkdir(parents=True, exist_ok=True)
    return folder / below


def _download(folder: Path, address: str, source: str) -> None:
    """Download one file; try again after errors that may pass (connection, HTTP 429 and 5xx, a short answer)."""
    parts = urllib.parse.urlsplit(address)
    name = urllib.parse.unquote(parts.path).rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[^/\\]*[^./\\][^/\\]*", name) or name == NAME:
        raise UserError(f"source '{source}': '{address}': allowed: http(s)://... that ends with the name of a file")
    for attempt in range(1, TRIES + 1):
        try:
            _download_once(folder / name, address, source)
            return
        except (OSError, EOFError, HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
            passing = not isinstance(error, urllib.error.HTTPError) or error.code == 429 or error.code >= 500
            if attempt == TRIES or not passing:
                raise UserError(f"source '{source}': '{address}': {error} ({attempt} of {TRIES} tries)") from None
            say(f"fetch: {address}: {error}; trying again")
            time.sleep(WAIT_S * 2 ** (attempt - 1))


def _download_once(target: Path, address: str, source: str) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": "jmlr"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, target.open("wb") as f:
        length = answer.headers.get("Content-Length")
        progress = Progress(f"fetch {source} (MiB)", -(-int(length) // BLOCK)) if length else None
        while block := answer.read(BLOCK):
            f.write(block)
            if progress:
                progress.step()
    if length and target.stat().st_size != int(length):
        raise EOFError(f"{target.stat().st_size} bytes came, {length} were announced")


def _check(folder: Path, expected: dict[str, str], source: str) -> None:
    """Compare checksums."""
    files = files_below(folder)
    for name, wanted in expected.items():
        if name not in files:
            raise UserError(f"source '{source}': sha256: no file '{name}'{closest(name, files)}")
        found = sha256(files[name])
        if found != wanted.lower():
            what = f"'{name}' has the SHA-256 {found}, but {wanted} is expected"
            raise UserError(f"source '{source}': {what}: another version, or a damaged file")
