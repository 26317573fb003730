"""Who can be meant where a run names a model: one that answers, or one that finds passages; and that none is made of itself.

roles.check_llm("lm", "systems.a.llm")            # ValueError: systems.a.llm: no model 'lm' (did you mean 'llm'?)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from jmlr.options.models import ModelOptions
from jmlr.runtime.validation import nearest, only

CONTINUED = "model:"  # what `pretrain.init` begins with where it names a model of the run


@dataclass(frozen=True)
class Roles:
    """The names of a run. A ready-made model is what rows and judges take it for; one that `pretrain` makes, what its objective says.

    Attributes:
        models, endpoints, systems: all names
        joint: systems that train their retriever -> what they get their passages from
        answering: models that rows answer with, or that judge
        searching: models that rows search with
    """

    models: Mapping[str, ModelOptions]
    endpoints: Collection[str]
    systems: Collection[str]
    joint: Mapping[str, list[str]]
    answering: Collection[str]
    searching: Collection[str]

    def check_models(self) -> None:
        """Refuse a model that continues, or is made of, itself, or what is not there or has another role.

        Raises:
            ValueError: in one line that names the key; so do the other checks.
        """
        self._check_circles()
        for name, model in self.models.items():
            for part in model.lists:
                self.check_found(part, f"models.{name}.{model.kind}.of", name)
            begun = model.pretrain.init if model.pretrain else ""
            if begun.startswith(CONTINUED):
                causal, key = not self._finds(name), begun.removeprefix(CONTINUED)
                known = [k for k in (self._llms if causal else self._with_weights) if not self._needs(k, name)]
                # A language model may become a retriever, which is seldom meant.
                if causal or key not in self.models or self.models[key].kind:
                    self._check(key, f"models.{name}.pretrain.init", known)

    def check_llm(self, name: str, where: str) -> None:
        """Refuse who cannot answer."""
        self._check(name, where, [*self._llms, *self.endpoints])

    def check_found(self, name: str, where: str, maker: str) -> None:
        """Refuse what finds no passages for `maker`: a model made of them, or a system that trains its retriever by them."""
        known = [k for k in (*self._retrievers, *self.joint) if not self._needs(k, maker)]
        self._check(name, where, known, "a system that trains no retriever")

    def check_retriever(self, name: str, where: str, target: str) -> None:
        """Refuse what cannot be a row's retriever, or not one that its `target` trains."""
        if target == "frozen":
            self._check(name, where, [*self._retrievers, *self.joint], "a system that trains no retriever")
        else:
            self._check(name, where, self._with_weights, why=f", and train.target {target} trains it")

    @cached_property
    def _llms(self) -> list[str]:
        only_searching = set(self.searching) - set(self.answering)
        return [k for k in self.models if not self._finds(k) and k not in only_searching]

    @cached_property
    def _retrievers(self) -> list[str]:
        def answers(name: str) -> bool:
            pretrain = self.models[name].pretrain
            return pretrain.objective == "causal" if pretrain else name in self.answering

        return [k for k in self.models if self._finds(k) or k in self.searching or not answers(k)]

    @property
    def _with_weights(self) -> list[str]:
        return [k for k in self._retrievers if not self.models[k].kind]

    def _finds(self, name: str) -> bool:
        """Tell whether a model is a retriever for certain."""
        pretrain = self.models[name].pretrain
        return bool(self.models[name].kind) or bool(pretrain and pretrain.objective != "causal")

    def _check(self, name: str, where: str, known: Collection[str], system: str = "a system", why: str = "") -> None:
        """Refuse a name that is not among the known ones; a system that lacks its own retriever is not named as one of them."""
        if name in known:
            return
        there = {*self.models, *self.joint}
        known = [k for k in known if there.issuperset(self.joint.get(k, ()))]
        if name in self.models:
            kind = self.models[name].kind
            found = f"a retriever without weights ({kind})" if kind else "a retriever"
            what = found if self._finds(name) else "a language model"
        elif name in self.systems or name in self.endpoints:
            what = system if name in self.systems else "an endpoint"
        else:
            raise ValueError(f"{where}: no model '{name}'{nearest(name, known)}")
        raise ValueError(f"{where}: '{name}' is {what}{why}; {only(known)}")

    def _parts(self, name: str) -> list[str]:
        model = self.models.get(name)
        begun = model.pretrain.init if model and model.pretrain else ""
        continued = [begun.removeprefix(CONTINUED)] if begun.startswith(CONTINUED) else []
        return [*model.lists, *continued] if model else self.joint.get(name, [])

    def _needs(self, name: str, other: str) -> bool:
        """Tell whether a name is another, or is made of it."""
        return name == other or any(self._needs(part, other) for part in self._parts(name))

    def _check_circles(self) -> None:
        """Refuse what is made of itself; nothing else here ends where there is a circle."""

        def follow(name: str, seen: tuple[str, ...]) -> None:
            for part in self._parts(name):
                if part in seen:
                    where = "models" if seen[0] in self.models else "systems"
                    raise ValueError(f"{where}.{seen[0]}: it is made of itself ({' -> '.join([*seen, part])})")
                follow(part, (*seen, part))

        for name in (*self.models, *self.joint):
            follow(name, (name,))
