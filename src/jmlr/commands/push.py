"""`jmlr push`: a trained row's adapter, merged language model or retriever, with its card, to a repository of the Hugging Face hub.

jmlr push me/jmlr-adapter --run results/own --dry-run      # what would go, and the card
jmlr push me/jmlr-adapter --run results/own                # HF_TOKEN holds the token, HF_ENDPOINT another hub
"""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

from jmlr.commands.parts import Part, Trained
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import files_below
from jmlr.runtime.finished import made
from jmlr.runtime.hub import check_environment
from jmlr.runtime.precision import Precision
from jmlr.runtime.progress import say
from jmlr.serving.row import private_sources

TOKEN = "HF_TOKEN"
MARKS = (
    ("adapter_config.json", "adapter"),
    ("modules.json", "retriever"),
    ("query/modules.json", "retriever"),
    ("config.json", "llm"),
)
STATUS = {
    401: f"the hub does not take the token of {TOKEN}; make one that may write, at the hub's settings",
    403: f"the token of {TOKEN} may not write there; allowed: a name of your own or of an organisation that lets you",
    404: "the hub has no such repository, or does not show it to you",
}


def push(
    repo: str,
    /,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    part: Part = "adapter",
    llm_precision: Precision = "float32",
    private: bool = True,
    revision: str = "",
    dry_run: bool = False,
) -> None:
    """Upload one part of a trained and measured row to the hub, with a card that tells its terms, data, figures and prompt.

    Args:
        repo: repository, such as me/jmlr-adapter; made where there is none
        run: folder of the run
        system: whose models
        seed: of the training
        part: adapter: the LoRA adapter; llm: the language model with it merged; retriever
        llm_precision: llm: how its weights are written; bfloat16: half the size
        private: only you, or your organisation, see the repository; one that is there and public is refused
        revision: branch to upload to, made where there is none; none given: the repository's main one
        dry_run: nothing is sent: list what would go, and show the card

    Example:
        jmlr push me/jmlr-retriever --run results/own --part retriever
    """
    _check(repo, revision)
    token = "" if dry_run else _token()
    row = Trained.of(run, system, seed)
    if sources := private_sources(run):
        raise UserError(
            f"'{run}' learned from texts of {', '.join(sources)}, which must not leave this machine (private, or not said to be "
            "public): weights and vocabularies can be made to tell them; allowed: a run without such sources"
        )
    made(run, run / system / f"seed{seed}" / "evaluate")
    with tempfile.TemporaryDirectory(prefix="jmlr-push-") as place:
        folder = Path(place) / part
        row.write(part, folder, llm_precision, repo)
        files = files_below(folder)
        where = f"{repo} ({'private' if private else 'public'}{f', branch {revision}' if revision else ''})"
        if part == "adapter" and os.path.exists(row.base):
            say(
                "push: the adapter's base model was made or lies on this machine alone; --part llm is what others can load"
            )
        if dry_run:
            sizes = "".join(f"{file.stat().st_size:14,} bytes  {name}\n" for name, file in sorted(files.items()))
            print(f"would go to {where}:\n{sizes}\n{(folder / 'README.md').read_text(encoding='utf-8')}", end="")
            return
        told = f"{part} of {system}, seed {seed}, round {row.folder.parent.name.removeprefix('r')}"
        url = _upload(repo, files, token, private, revision, f"jmlr: {told}")
    say(f"push: {count_of(len(files), 'file')} in {url}")


def _check(repo: str, revision: str) -> None:
    """Refuse what is no name of a repository or of a branch, and variables that the hub's library fails at."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise UserError(f"REPO '{repo}': allowed: owner/name, of letters, digits, '-', '_' and '.'") from None
    if "/" not in repo:
        raise UserError(f"REPO '{repo}': whose? allowed: owner/name, such as me/{repo}")
    if revision and (".." in revision or not re.fullmatch(r"\w[\w./-]*", revision)):
        raise UserError(f"--revision '{revision}' is no branch's name; allowed: letters, digits, '-', '_', '.' and '/'")
    check_environment()


def _token() -> str:
    """Return the token of the environment; a message never repeats it."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"{TOKEN} is not set; set it to a token that may write (the hub's settings), or use --dry-run")
    if not re.fullmatch("[!-~]+", token):
        raise UserError(f"{TOKEN} holds blanks or letters that no token has; set it again")
    return token


def _upload(repo: str, files: dict[str, Path], token: str, private: bool, revision: str, message: str) -> str:
    """Make the repository and the branch where they are missing, and commit all files at once; return where they are.

    Raises:
        UserError: the hub cannot be reached or refuses, or the repository is there and public though a private one was asked for,
            or holds another part.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        # What is there keeps its visibility, whatever is asked for here.
        repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
        found = api.model_info(repo)
        if private and not found.private:
            raise UserError(f"REPO '{repo}' is there, and public; allowed: --no-private, or another name")
        held = {s.rfilename for s in found.siblings or []}
        if (kind := _kind(held)) not in ("", _kind(files)):
            what = f"REPO '{repo}' holds a model of another kind ({kind}), whose files would stay beside these"
            raise UserError(f"{what}; allowed: another name, or remove it at the hub first")
        others = held - {*files, ".gitattributes"}
        if others and not revision:
            say(f"push: {repo} keeps what else it holds: {', '.join(sorted(others)[:5])}{' ...' * (len(others) > 5)}")
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(file)) for name, file in files.items()]
        done = api.create_commit(
            repo, added, commit_message=message, revision=revision or None
        )  # one commit: all or none
    except UserError:
        raise
    except Exception as error:  # of the HTTP library below, which is not the same in all versions
        raise UserError(f"{repo}: {_said(error, token)}") from None
    return str(done.commit_url)


def _kind(names: Collection[str]) -> str:
    """Return which part's files these are; "": none's."""
    return next((kind for mark, kind in MARKS if mark in names), "")


def _said(error: Any, token: str) -> str:
    """Return in one line what went wrong; never the token."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it"
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = " ".join(str(error).split()).replace(token, "***") or type(error).__name__
    short = textwrap.shorten(said, 200, placeholder=" ...")
    if status is None:
        return f"the hub cannot be reached, or ended the upload ({short}); nothing is committed; run it again"
    return STATUS.get(status, f"the hub refuses ({status}): {short}")
