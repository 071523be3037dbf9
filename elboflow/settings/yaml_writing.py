"""Plain data as YAML that `elboflow.settings.yaml_text` reads as the same data."""

import math
import re
from functools import partial
from typing import Any

import yaml

from elboflow.settings.yaml_scalars import TAGS, ScalarError, plain


def write(value: Any) -> str:
    """Returns plain data as YAML that `yaml_text.read` reads as the same data, as do readers of YAML 1.1."""
    return str(_dumped(value))


def flow(value: Any) -> str:
    """Returns plain data as YAML on one line: `{kind: mlp, hidden: [256, 256]}`."""
    text = str(_dumped(value, default_flow_style=True, width=math.inf))
    return text.removesuffix("\n...\n").strip()  # the mark after a scalar that ends a document


class _Dumper(yaml.SafeDumper):
    """Writes text without quotes only where every reader takes it for text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        usual = super().resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0] or usual != TAGS + "str":
            return usual
        try:
            return usual if isinstance(plain(value), str) else TAGS + "null"
        except ScalarError:
            return TAGS + "null"

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # Unicode's line breaks would be read as spaces; within double quotes they are escaped.
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar(TAGS + "str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)
_dumped = partial(yaml.dump, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
