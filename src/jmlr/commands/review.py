"""`jmlr review make` and `jmlr review merge`: a blinded comparison of two systems by medical professionals (docs/review.md)."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any, Literal

from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import fresh_directory, fresh_file
from jmlr.runtime.manifest import tell_private
from jmlr.runtime.progress import say
from jmlr.runtime.validation import Word

KEY = "key/key.json"


def review(
    action: Literal["make", "merge"],
    /,
    out: Path = Path("review"),
    run: Path = Path("results/demo"),
    systems: list[Word] | None = None,
    reviewers: list[Word] | None = None,
    questions: int = 30,
    seed: int = 0,
    secret: int = -1,
    contact: str = "",
    files: list[Path] | None = None,
) -> None:
    """Make review pages of a finished run, or merge the files that reviewers sent back.

    Args:
        action: make: pages/REVIEWER.html and key/key.json; merge: review.json and review.md
        out: folder of the review
        run: make: folder of the finished run
        systems: make: the two systems; none: jmlr rag
        reviewers: make: names, one page each; none: reviewer-1 reviewer-2
        questions: make: how many are drawn at random; 0: all
        seed: make: of the trainings whose answers are shown
        secret: make: number that order and sides are drawn from; -1: a random one, kept in the key
        contact: make: whom reviewers send their files to, such as a name with an address; the page says it
        files: merge: what reviewers saved

    Example:
        jmlr review make --run results/demo --out review --questions 30
    """
    if action == "make":
        pair: list[str] = [*(systems or ("jmlr", "rag"))]
        names: list[str] = [*(reviewers or ("reviewer-1", "reviewer-2"))]
        _make(out, run, pair, names, questions, seed, secret, contact)
    else:
        _merge(out, files or [])


def _make(
    out: Path,
    run: Path,
    systems: list[str],
    reviewers: list[str],
    questions: int,
    seed: int,
    secret: int,
    contact: str,
) -> None:
    from jmlr.report.review.kit import make_kit

    if len(systems) != 2 or systems[0] == systems[1]:
        raise UserError(f"--systems {' '.join(systems)}: two different systems are compared")
    wrong = next((r for r in reviewers if not r.replace("-", "").replace("_", "").isalnum()), None)
    if wrong is not None or len(set(reviewers)) < len(reviewers):
        raise UserError(f"--reviewers {' '.join(reviewers)}: names of letters, digits, - and _, each once")
    if questions < 0:
        raise UserError(f"--questions {questions}: allowed: a number of questions, or 0 for all")
    if out.exists():
        raise UserError(
            f"--out: '{out}' is there already; a new kit would make files of the old one worthless: give another folder"
        )
    number = secrets.randbits(63) if secret < 0 else secret
    kit = make_kit(
        run,
        (systems[0], systems[1]),
        seed=seed,
        reviewers=reviewers,
        questions=questions,
        secret=number,
        contact=contact,
    )
    with fresh_directory(out) as folder:
        (folder / "pages").mkdir()
        (folder / "key").mkdir(mode=0o700)
        for reviewer, page in kit.pages.items():
            (folder / "pages" / f"{reviewer}.html").write_text(page, encoding="utf-8")
        (folder / KEY).write_text(json.dumps(kit.key, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(
        f"review: {count_of(len(kit.pages), 'page')} of {len(kit.key['questions'])} of {count_of(kit.key['of'], 'question')} in '{out / 'pages'}', on "
        f"{', '.join(kit.key['criteria'])}; '{out / KEY}' stays with you"
    )
    tell_private("review", out / "pages", run)


def _merge(out: Path, files: list[Path]) -> None:
    from jmlr.report.review.merge import merge, table

    key = _read(out / KEY)
    if not isinstance(key, dict) or "sides" not in key:
        raise UserError(f"'{out / KEY}': not the key of a review")
    if not files:
        raise UserError("--files: none given; allowed: the files that reviewers saved")
    result = merge(key, {str(f): _read(f) for f in files})
    text = table(result)
    for name, content in (("review.json", json.dumps(result, indent=1) + "\n"), ("review.md", text)):
        with fresh_file(out / name) as path:
            path.write_text(content, encoding="utf-8")
    print(text, end="")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"there is no '{path}'")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"'{path}': not JSON ({error})") from None
