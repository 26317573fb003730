"""`jmlr init`: look into a folder of documents and a table of questions, and write the run file that reads them.

What it says it has measured: the file is tried by the stage `prepare` itself, in a temporary folder, before it is written.

Example:
    jmlr init docs/own/documents --questions docs/own/exam.csv --out my.yaml \\
      --llm HuggingFaceTB/SmolLM2-135M-Instruct --retriever sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

import codecs
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml

from jmlr.checks import checked, holds_text
from jmlr.commands.cost import said_cost
from jmlr.config import Config
from jmlr.corpus.formats import format_of, unreadable
from jmlr.corpus.guess import QUESTION, delimiter, has, passage_fields, question_fields
from jmlr.corpus.quotes import closest, hidden, quoted
from jmlr.corpus.records import EmptyError, Reading, read_records
from jmlr.corpus.texts import DOCUMENTS
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import existing, files_below, fresh_file
from jmlr.runtime.progress import named_as_given

LOOKED_AT = 200  # records of a table whose columns are looked at
SAMPLE = 2000  # texts whose tokens and languages are counted
HEAD = """\
# Written by `jmlr init`; every other key and its default: docs/config.md. To run it:
#   jmlr config --check {out}
#   snakemake --cores all --configfile {out}
"""
TINY = """
# No models are named, so tiny ones are made from scratch: they show that the data goes all the way through, no more. Real ones:
# models:
#   llm: {path: HuggingFaceTB/SmolLM2-135M-Instruct}
#   retriever: {path: sentence-transformers/all-MiniLM-L6-v2}
"""

DROPPED = {"unusable": "drop", "most_unusable": 0.2}  # of a small table one question is more than the usual 3 %


def init(
    folder: Path,
    /,
    questions: Path,
    out: Path = Path("my.yaml"),
    llm: str = "",
    retriever: str = "",
    name: str = "own",
    private: bool = False,
    unusable: Literal["error", "drop"] = "error",
) -> None:
    """Look into documents and questions of one's own, and write a run file that reads them.

    Args:
        folder: folder of documents, or one file of passages
        questions: table of questions: CSV, TSV, JSON, JSON Lines or Parquet
        out: run file to write
        llm: language model: folder or hub name; none: a tiny one from scratch
        retriever: the same of the retriever
        name: name of the run and of its folder under results/
        private: the texts must not leave this machine, and nothing of them is quoted
        unusable: questions that cannot be used end it, or are left out and listed, up to a fifth of a split
    """
    if out.exists():
        raise UserError(f"--out '{out}' is there already; give another name, or remove it")
    if (held := Path("results", name)).exists():
        raise UserError(f"--name '{name}': '{held}' is another run's already; give another name, or remove that folder")
    if bool(llm) != bool(retriever):
        raise UserError("give both --llm and --retriever, or neither")
    with hidden(private):
        corpus = _corpus(existing(folder, "FOLDER"), questions)
        entry = _questions(existing(questions, "--questions")) | (DROPPED if unusable == "drop" else {})
        data = _data(name, folder, questions, corpus, entry, (llm, retriever), private)
        checked(data)
        with tempfile.TemporaryDirectory() as place:
            links = {"documents": folder, "questions": questions}
            with named_as_given({_link(Path(place) / k, given): given for k, given in links.items()}):
                told = _tried(data, folder, questions, Path(place))
            run = Config.load(data)
            print(
                "\n".join([*told, *_read_by(run, Path(place) / "prepared"), *said_cost(run, Path(place) / "prepared")])
            )
    with fresh_file(out) as target:
        target.write_text(_text(data, out), encoding="utf-8")
    print(f"written    {out}\nnext       in the checkout: snakemake --cores all --configfile {os.path.abspath(out)}")


def _corpus(folder: Path, questions: Path) -> dict[str, Any]:
    """Return the corpus's entry: which files, and in which of their columns text and title stand.

    Raises:
        UserError: nothing there can be read, or a table's text is in no column that we know.
    """
    files = {n: p for n, p in files_below(folder).items() if p.resolve() != questions.resolve()}
    if unread := unreadable(files) or ("" if files else "it holds no files of documents"):
        raise UserError(f"'{folder}': {unread}")
    if not any(map(holds_text, files.values())):
        raise UserError(f"'{folder}': {'it is empty' if len(files) == 1 else f'all its {len(files)} files are empty'}")
    tables = [n for n in files if format_of(n) not in DOCUMENTS]
    if not tables:
        return {"source": "documents"}
    if len(tables) < len(files):
        raise UserError(
            f"'{folder}': documents and tables ({quoted(tables[0])}) side by side; put the tables elsewhere"
        )
    columns = _columns(files[tables[0]], {})
    fields = passage_fields(columns)
    if not has(columns, fields, "text"):
        raise UserError(f"{quoted(tables[0])}: no column holds the text{closest('text', columns)}; rename it to 'text'")
    extra = {} if has(columns, fields, "id") else {"make_ids": True}
    return {"source": "documents", **extra, **({"fields": fields} if fields else {})}


def _questions(file: Path) -> dict[str, Any]:
    """Return the questions' entry: how the table is read, and in which of its columns what stands.

    Raises:
        UserError: there is no column of questions, or none of answers.
    """
    entry: dict[str, Any] = {"source": "questions"}
    if file.is_dir():
        raise UserError(f"--questions '{file}' is a folder; allowed: a table (.csv, .tsv, .json, .jsonl, .parquet)")
    if wrong := unreadable([file.name]):
        raise UserError(f"--questions: {wrong}")
    if format_of(file.name) in DOCUMENTS:
        raise UserError(f"--questions '{file}' is a document; allowed: a table (.csv, .tsv, .json, .jsonl, .parquet)")
    if file.suffix.lower() in (".csv", ".tsv", ".tab"):
        entry |= _cells(file)
    columns = _columns(file, entry)
    fields = question_fields(columns)
    for ours in ("question", "answer"):
        if not has(columns, fields, ours) and not (ours == "answer" and has(columns, fields, "answer_text")):
            known = f"it is looked for as {', '.join(QUESTION[ours])}"
            raise UserError(
                f"'{file}': no column is '{ours}'; {known}; there are: {', '.join(map(quoted, columns))}; rename the column"
            )
    if not has(columns, fields, "split"):
        entry["split"] = "hash"
    if not has(columns, fields, "options"):
        entry["open"] = True
    if not has(columns, fields, "id"):
        entry["make_ids"] = True
    return {**entry, **({"fields": fields} if fields else {})}


def _cells(file: Path) -> dict[str, str]:
    """Return how the text of a table is read, as far as it is not UTF-8 with the delimiter of its ending: by its beginning."""
    with file.open("rb") as opened:
        first = opened.read(1 << 16)
    entry: dict[str, str] = {}
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        entry["encoding"] = "utf-16"
    try:
        first.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(first) - 4:  # else the last character is cut
            entry.setdefault("encoding", "cp1252")
    text = first.decode(entry.get("encoding", "utf-8"), "replace")
    parts = delimiter(text.splitlines()[0] if text.strip() else "")
    if parts != ("," if file.suffix.lower() == ".csv" else "\t"):
        entry["delimiter"] = "tab" if parts == "\t" else parts
    return entry


def _columns(file: Path, given: Mapping[str, Any]) -> list[str]:
    """Return the names of a table's columns, in the order in which they first stand."""
    reading = Reading(**{k: v for k, v in given.items() if k in ("encoding", "delimiter")})
    records = islice(read_records(file, reading), LOOKED_AT)
    try:
        return list(dict.fromkeys(key for record in records for key in record.fields))
    except EmptyError as error:
        raise UserError(f"{error.where}: no records") from None


def _data(
    name: str, folder: Path, questions: Path, corpus: dict[str, Any], entry: dict[str, Any], models: tuple[str, str], private: bool
) -> dict[str, Any]:  # fmt: skip
    """Return the run's mapping; what the defaults say already is left out."""
    inside = folder.is_dir() and questions.resolve().is_relative_to(folder.resolve())
    kept = {"files": _others(folder, questions)} if inside else {}
    secret = {"private": True} if private else {}
    prepare: dict[str, Any] = {}
    if corpus != {"source": "documents"}:
        prepare["corpora"] = [corpus]
    if entry != {"source": "questions", "split": "hash"}:
        prepare["questions"] = [entry]
    llm, retriever = (os.path.abspath(m) if os.path.exists(m) else m for m in models)
    return {
        "run": name,
        "sources": {
            "documents": {"path": os.path.abspath(folder), **kept, **secret},
            "questions": {"path": os.path.abspath(questions), **secret},
        },
        **({"prepare": prepare} if prepare else {}),
        **({"models": {"llm": {"path": llm}, "retriever": {"path": retriever}}} if llm else {}),
        **({"report": {"examples": 0}} if private else {}),
    }


def _others(folder: Path, questions: Path) -> list[str]:
    """Return patterns for all files of a folder but the questions."""
    own = str(questions.resolve().relative_to(folder.resolve()))
    endings = sorted({"".join(Path(n).suffixes[-2:] if n.endswith((".gz", ".xz", ".bz2")) else Path(n).suffixes[-1:])
                      for n in files_below(folder) if n != own})  # fmt: skip
    if any(own.endswith(end) for end in endings):
        raise UserError(f"'{questions}' stands among documents of its own kind; put it beside the folder '{folder}'")
    return [f"*{end}" for end in endings]


def _tried(data: dict[str, Any], folder: Path, questions: Path, place: Path) -> list[str]:
    """Prepare the run's tables in a temporary folder; return what they hold, line by line.

    Gold that names nothing of the corpus is left out of `data`, and told.
    """
    from jmlr.corpus.tables import read_table
    from jmlr.stages.prepare import prepare

    for source, path in (("documents", folder), ("questions", questions)):
        held = place / source
        held.mkdir()
        for name, file in files_below(path, data["sources"][source].get("files", [])).items():
            (held / name).parent.mkdir(parents=True, exist_ok=True)
            (held / name).symlink_to(file.resolve())
    told = [f"documents  {folder}: {_kinds(place / 'documents')}"]
    try:
        prepare(place / "prepared", [place / "documents", place / "questions"], Config.load(data).prepared())
    except UserError as error:
        if "gold ids is the id" not in str(error):
            raise
        _without_gold(data)
        told.append(f"gold       left out: {error}")
        prepare(place / "prepared", [place / "documents", place / "questions"], Config.load(data).prepared())
    asked = read_table(place / "prepared/questions.parquet").to_pylist()
    splits = Counter(q["split"] for q in asked)
    kinds = Counter(len(q["options"]) for q in asked)
    options = ", ".join(f"{n} with {k} options" if k else f"{n} open" for k, n in sorted(kinds.items()))
    gold = sum(bool(q["gold_ids"]) for q in asked)
    told += [f"questions  {questions}: {len(asked):,}, {options}; {gold:,} name their passage; "
             + ", ".join(f"{s} {n:,}" for s, n in splits.items()),
             f"fields     {_fields(data)}"]  # fmt: skip
    if not splits.get("train"):
        raise UserError(
            f"--questions '{questions}': none of {len(asked):,} is for training; allowed: more, or a column 'split'"
        )
    if min(splits.get(s, 0) for s in ("train", "dev", "test")) < 10:
        few = ", ".join(s for s in ("train", "dev", "test") if splits.get(s, 0) < 10)
        told.append(f"warning    fewer than ten questions in {few}: what is measured there may be chance")
    return told


def _link(held: Path, given: Path) -> Path:
    """Return where the temporary folder of a source has what was given: a folder as itself, a file in it."""
    return held if given.is_dir() else held / given.name


def _kinds(folder: Path) -> str:
    names = list(files_below(folder))
    kinds = Counter(map(format_of, names))
    return f"{count_of(len(names), 'file')} ({', '.join(f'{n:,} {k}' for k, n in kinds.most_common())})"


def _fields(data: dict[str, Any]) -> str:
    found = {e["source"]: e.get("fields", {}) for part in data.get("prepare", {}).values() for e in part}
    said = [f"{ours} in {theirs}" for fields in found.values() for ours, theirs in fields.items()]
    return "; ".join(said) or "all under our own names"


def _without_gold(data: dict[str, Any]) -> None:
    [entry] = (
        data["prepare"]["questions"]
        if "questions" in data.get("prepare", {})
        else [{"source": "questions", "split": "hash"}]
    )
    data.setdefault("prepare", {})["questions"] = [{**entry, "gold_check": "warn"}]


def _read_by(run: Config, prepared: Path) -> Iterator[str]:
    """Yield how long passages and questions are to each model, what would be cut, and what it cannot read."""
    from jmlr.corpus.languages import languages
    from jmlr.corpus.prompt import passage_text
    from jmlr.corpus.tables import read_table

    table = read_table(prepared / "passages.parquet", ["title", "text"])
    step = max(1, len(table) // SAMPLE)
    rows = table.take(list(range(0, len(table), step))).to_pylist()
    texts = [passage_text(r["title"], r["text"]) for r in rows]
    shares = [f"{name} {share:.0%}" for name, share in list(languages(texts).items())[:4]]
    words = sorted(len(t.split()) for t in texts)
    yield f"passages   {len(table):,}, each at most {run.prepare.chunk_words} words (median {words[len(words) // 2]}); {', '.join(shares)}"
    for name in ("retriever", "llm"):
        if path := run.models[name].path:
            most = run.reading.llm_passage_tokens if name == "llm" else 0
            yield from _by_model(name, path, texts, most)


def _by_model(name: str, path: str, texts: list[str], most: int) -> Iterator[str]:
    from transformers import AutoTokenizer

    from jmlr.models.load import gguf_of, pretrained
    from jmlr.models.vocabulary import fault, look

    folder, file = gguf_of(path)
    try:
        tokenizer = pretrained(AutoTokenizer, folder, "tokenizer of", **file)
    except UserError as error:
        yield f"tokens     {name}: not counted: {error}"
        return
    known = look(tokenizer, texts)
    lengths = sorted(known.lengths)
    most = most or _longest(path, tokenizer)
    cut = sum(n > most for n in lengths) / len(lengths)
    yield (
        f"tokens     {name}: a passage has {lengths[len(lengths) // 2]:,} (median) to {lengths[-1]:,}; "
        f"{cut:.1%} are cut at {most:,}; unknown {known.unknown:.1%}, {known.per_word:.1f} a word"
    )
    if wrong := fault(known):
        yield f"warning    {name} '{path}' does not know these texts well: {wrong}; take one made for their language"


def _longest(path: str, tokenizer: Any) -> int:
    """Return what a retriever cuts passages at: what sentence-transformers was told, else what its tokenizer says."""
    file = Path(path) / "sentence_bert_config.json"
    told = json.loads(file.read_text()).get("max_seq_length") if file.is_file() else None
    return int(told or min(tokenizer.model_max_length, 512))


def _text(data: dict[str, Any], out: Path) -> str:
    """Return the run file: the mapping, and what a reader may want to change."""
    parts = [HEAD.format(out=out)]
    for key, value in data.items():
        flow = None if isinstance(value, dict) else False  # the innermost mappings on a line of their own
        style = {"sort_keys": False, "allow_unicode": True, "width": 120}
        parts.append(yaml.safe_dump({key: value}, default_flow_style=flow, **style))
    if "models" not in data:
        parts.append(TINY)
    parts.append(
        "\n# What most often is changed, with its default:\n"
        "# seeds: [0] # [0, 1, 2] trains every system three times, for intervals over seeds\n"
        "# train: {epochs: 3.0, passages: 3, samples: 10, retriever_learning_rate: 0.00002}\n"
        "# prepare: {decontaminate: {splits: [test]}} # no test question in what is learnt from\n"
    )
    return "".join(parts)
