"""One file per step of the pipeline: a plain function from folders to a folder, or from folders to MLflow.

    decide → preprocess → dataset/ → train → model/ → evaluate → evaluation/ → register → MLflow → finish

A step is called with paths and a section of the experiment, by a test, a notebook, the command line or a KFP component
alike. `predict` makes examples with a trained model; `config` holds the sections `registry` and `notify`. What the
steps share stands in rooms, each of which imports only those to its right:

    sweep → the steps → registry, outputs → tracking → binding, surroundings → config

Importing any of these files imports no framework and no MLflow; calling a function does. A step returns what it made,
and logs its progress, which a notebook shows.
"""

from importlib import import_module
from importlib.util import find_spec

import elboflow
from elboflow.settings import html

if elboflow.is_interactive():
    elboflow.show_progress()
    if find_spec("components.surroundings") is not None:  # the code that a registered model carries is without it
        html.mask_with(import_module("components.surroundings.masking").masked)
