"""Options with the demo's toy values, which suit the tiny models that tests make; the defaults suit pretrained ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jmlr.config import Config
from jmlr.options import PromptOptions, ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.runtime.files import MANIFEST, sha256

if TYPE_CHECKING:
    from jmlr.training.session import Session
    from jmlr.training.step import StepSettings

DEMO = Config.load({})


def rewrite(file: Path, table: Any) -> None:
    """Write another table in a stage's output, as if the stage had: the manifest beside it lists that one."""
    import pyarrow.parquet as pq

    pq.write_table(table, file)
    relist(file.parent, {file.name: sha256(file)})


def relist(folder: Path, files: dict[str, str | None]) -> None:
    """Change the digests in a manifest; None: the stage wrote no such file."""
    manifest = json.loads((folder / MANIFEST).read_text())
    listed = {k: v for k, v in {**manifest["outputs"], **files}.items() if v}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "outputs": listed}))


PROMPTS = PromptOptions(**DEMO.reading.model_dump(include=set(PromptOptions.model_fields)))


def toy_training(**changes: Any) -> TrainOptions:
    return TrainOptions(**{**DEMO.train.model_dump(), **changes})


def toy_reading(**changes: Any) -> ReadingOptions:
    return ReadingOptions(**{**DEMO.reading.model_dump(), **changes})


def toy_retrieval(**changes: Any) -> RetrievalOptions:
    return RetrievalOptions(**{**DEMO.retrieval.model_dump(), **changes})


JOINT = toy_training(
    target="llm_rank",
    steps=6,
    batch=4,
    samples=4,
    sampling_temperature=0.2,
    llm_learning_rate=1e-2,
    retriever_learning_rate=1e-2,
)


def open_session(
    tiny: Path,
    candidates: Path,
    *,
    llm: Path | None = None,
    retriever: Path | None = None,
    vectors: Sequence[Path] = (),
    seed: int = 0,
    options: TrainOptions = JOINT,
    reading: ReadingOptions | None = None,
    retrieval: RetrievalOptions | None = None,
    **changes: Any,
) -> Session:
    """Open the joint training of the tiny world's models, or of others; `changes` of the training's options."""
    from jmlr.training.session import Session

    options = options.model_copy(update=changes)
    joint = options.target != "frozen"
    return Session.open(
        prepared=tiny / "prepare",
        llm=str(llm or tiny / "llm"),
        retriever=str(retriever or tiny / "retriever") if joint else None,
        candidates=candidates,
        previous=None,
        vectors=vectors,
        seed=seed,
        options=options,
        reading=reading or toy_reading(),
        retrieval=retrieval or toy_retrieval(),
    )


def settings_of(session: Session, **changes: Any) -> StepSettings:
    from jmlr.training.step import StepSettings

    return StepSettings.of({**dict(session.options), **dict(session.reading), **changes})
