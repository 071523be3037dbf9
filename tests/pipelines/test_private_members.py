"""What `pipelines` uses of KFP's client that KFP does not promise to keep: a new version of it may end it."""

import ast
import importlib.util
import inspect
from pathlib import Path

USED = {"_run_api", "_context_setting", "_load_config", "_load_context_setting_or_default"}


def test_every_private_member_of_the_client_that_is_used_is_named_here():
    spec = importlib.util.find_spec("pipelines")
    assert spec is not None
    assert spec.origin is not None
    found = set()
    for file in Path(spec.origin).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("client", "self.client"):
                found |= {node.attr} if node.attr.startswith("_") else set()
            if isinstance(node, ast.ClassDef) and "Client" in map(ast.unparse, node.bases):
                methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
                found |= {name for name in methods if name.startswith("_")} | {"_context_setting"}
    assert found == USED


def test_the_client_has_them():
    from kfp.client import Client
    from kfp.client import client as module

    source = inspect.getsource(Client.__init__)
    for name in ("_load_config", "_load_context_setting_or_default"):
        assert callable(getattr(Client, name)), name
        assert f"self.{name}(" in source, name
    assert "self._run_api = " in source
    assert "self._context_setting" in inspect.getsource(Client)
    assert "print(" in inspect.getsource(module)
