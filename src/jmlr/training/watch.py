"""Early warnings: signs that a training wastes its GPU hours, each said once, in one line with the fix.

watch = Watch("train jmlr seed 0", steps=75)
for step in ...: watch.look(figures)
"""

from __future__ import annotations

from collections.abc import Mapping

from jmlr.corpus.prompt import Prompter
from jmlr.runtime.progress import say, warn

WINDOW = 50  # steps, at most, that are averaged at either end before "has not fallen" is said
FEWEST = 40  # steps of a round; fewer say nothing


class Watch:
    """Looks at every step's figures; see `look`."""

    def __init__(self, name: str, steps: int) -> None:
        """Look at a round of so many steps."""
        self._name = name
        self._window = min(WINDOW, steps // 4) if steps >= FEWEST else 0
        self._said: set[str] = set()
        self._rank_losses: list[float] = []

    def look(self, figures: Mapping[str, float | None]) -> None:
        """Warn, once each, of scores or losses without a spread, and of a rank loss that does not fall.

        figures: of one step, as `metrics.jsonl` has them; what is missing or None is not looked at.
        """
        spread = figures.get("score_spread")
        if spread is not None and spread < 1e-6:
            self._warn(
                "scores",
                "every candidate of a question has the same score: the retriever has collapsed, or all passages are "
                "alike; lower retriever_learning_rate",
            )
        spread = figures.get("loss_spread")
        if spread is not None and spread < 1e-4:
            self._warn(
                "losses",
                f"the LLM's loss is the same whatever passage it reads (spread {spread:.1e} nats), so it has nothing to teach "
                "the retriever; is the passage in its prompt (llm_tokens), and can it copy from it?",
            )
        loss = figures.get("loss_rank")
        if loss is not None:
            self._rank_losses.append(loss)
        n = self._window
        if n and len(self._rank_losses) == 4 * n:
            first, last = sum(self._rank_losses[:n]) / n, sum(self._rank_losses[-n:]) / n
            if last > 0.995 * first:
                self._warn(
                    "rank",
                    f"loss_rank has not fallen in {len(self._rank_losses)} steps ({first:.3f} to {last:.3f}); raise "
                    "retriever_learning_rate, or lower sampling_temperature, unless the report shows that hit@k rises",
                )

    def cut(self, prompter: Prompter, when: str) -> None:
        """Warn of how many texts were cut to fit, and at what length: `when` is "in all", or "so far", which is said early only."""
        at = {
            "passages": f"at {prompter.llm_passage_tokens} tokens (llm_passage_tokens)",
            "questions": f"at {prompter.llm_question_tokens} (llm_question_tokens)",
            "answers": f"at {prompter.llm_answer_tokens} (llm_answer_tokens)",
            "dropped_passages": f"from prompts of {prompter.llm_tokens} (llm_tokens)",
        }
        held = [f"{count} {what.replace('_', ' ')} {at[what]}" for what, count in prompter.cut.items() if count]
        if held:
            text = f"cut to fit, {when}: {', '.join(held)}"
            warn(self._name, text) if when == "in all" else say(f"{self._name}: warning: {text}")

    def _warn(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said.add(about)
            warn(self._name, text)
