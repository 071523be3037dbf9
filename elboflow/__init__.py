"""What `import elboflow` gives: the library of models (`elboflow.vae`), and what it stands on.

`elboflow.settings` has frozen settings and errors for people, `elboflow.artifacts` folders that commit last. The stages
of the pipeline are separate packages: `preprocessing`, `components`, `pipelines`.
"""

import logging
import sys

__version__ = "0.2.0"


def show_progress() -> None:
    """Prints what the steps log, such as a line per epoch, unless the program handles logs itself.

    In a notebook, importing `components` does this. `logging.getLogger("elboflow").setLevel("WARNING")` silences it.
    """
    logger = logging.getLogger("elboflow")
    if logger.handlers:
        return
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    shown = logging.StreamHandler(sys.stdout)  # notebooks show standard error as if it were a failure
    shown.addFilter(lambda record: not logging.root.handlers)  # they would show it a second time
    logger.addHandler(shown)


def is_interactive() -> bool:
    """Returns whether this process is a notebook's kernel, or IPython."""
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None
