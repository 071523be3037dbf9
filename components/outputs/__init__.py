"""Files of examples that a model made: one module for each form, found by the suffix of the file's name.

A module has `SUFFIX`; `fits(specs)`, which says whether such features can be written so, and raises RequestError where
a reason has to be told; and `content(specs, sets)`, the file. Sets of examples belong together row by row: `""` are
those that a model made, and `original` those that it made them of.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from components.outputs import arrays, image_grid, lines, table
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError

_FORMS = (image_grid, lines, table, arrays)

Specs = Mapping[str, FeatureSpec]
Sets = Mapping[str, Mapping[str, np.ndarray]]


def writer(output: Path) -> ModuleType:
    """Returns the form of a file.

    Raises:
        RequestError: There is none of this suffix.
    """
    for form in _FORMS:
        if output.suffix == form.SUFFIX:
            return form
    *most, last = [form.SUFFIX for form in _FORMS]
    raise RequestError(f"examples are written as {', '.join(most)} or {last}; {str(output)!r} is none of these")


def check(output: Path, specs: Specs) -> None:
    """Looks whether features can be written into a file.

    Raises:
        RequestError: They cannot; the message lists the forms in which they can.
    """
    if writer(output).fits(specs):
        return
    kinds = ", ".join(f"{name} ({spec.kind})" for name, spec in specs.items())
    allowed = [form.SUFFIX for form in _FORMS if form.fits(specs)]
    raise RequestError(f"the model's {kinds} cannot be written as {output.suffix}; write {' or '.join(allowed)}")
