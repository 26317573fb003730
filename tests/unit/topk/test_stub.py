"""The hand-kept stub of the compiled module says what the module has."""

import ast
from pathlib import Path

import jmlr.topk
from jmlr.topk import _topk


def test_the_stub_names_what_the_module_has():
    tree = ast.parse((Path(jmlr.topk.__file__).parent / "_topk.pyi").read_text())
    stubbed = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert set(stubbed) == {name for name in dir(_topk) if not name.startswith("__")}
    for name, node in stubbed.items():
        if isinstance(node, ast.FunctionDef):
            for argument in node.args.args:
                assert f"{argument.arg}:" in getattr(_topk, name).__doc__
