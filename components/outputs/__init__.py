"""Files with examples from a model: one module for each file format, chosen by the suffix of the file name.

A module has the constant `SUFFIX` and two functions. `fits(specs)` returns whether the format can store these features,
or raises a RequestError with the reason. `content(specs, sets)` returns the bytes of the file. The sets of examples
have corresponding rows: `""` are the examples from the model, and `original` the examples that it reconstructed.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from components.outputs import arrays, image_grid, lines, table
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError

_FORMATS = (image_grid, lines, table, arrays)

Specs = Mapping[str, FeatureSpec]
Sets = Mapping[str, Mapping[str, np.ndarray]]


def writer(output: Path) -> ModuleType:
    """Returns the module for the format of a file.

    Raises:
        RequestError: No format has this suffix.
    """
    for form in _FORMATS:
        if output.suffix == form.SUFFIX:
            return form
    *most, last = [form.SUFFIX for form in _FORMATS]
    raise RequestError(f"examples are written as {', '.join(most)} or {last}; {str(output)!r} is none of these")


def check(output: Path, specs: Specs) -> None:
    """Checks that the format of a file can store these features.

    Raises:
        RequestError: The format cannot store them; the message lists the formats that can.
    """
    if writer(output).fits(specs):
        return
    kinds = ", ".join(f"{name} ({spec.kind})" for name, spec in specs.items())
    allowed = [form.SUFFIX for form in _FORMATS if form.fits(specs)]
    raise RequestError(f"the model's {kinds} cannot be written as {output.suffix}; write {' or '.join(allowed)}")
