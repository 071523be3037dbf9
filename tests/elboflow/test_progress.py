"""What a step shows in a notebook, where nobody configures logging."""

import subprocess
import sys

STEP = """
import logging
{before}
import components
{after}
logging.getLogger("elboflow.training").info("epoch 1 of 2")
logging.getLogger("elboflow.training").debug("a detail")
logging.getLogger("urllib3").info("a message")
"""


def shown(*interpreter: str, before: str = "", after: str = "") -> str:
    program = STEP.format(before=before, after=after)
    done = subprocess.run([sys.executable, *interpreter, "-c", program], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


IPYTHON = ("-m", "IPython", "--quick", "--no-banner", "--colors=nocolor")


def test_a_notebook_shows_progress_once_and_a_program_shows_what_it_asks_for() -> None:
    assert shown(*IPYTHON) == "epoch 1 of 2\n"
    asked_for = "logging.basicConfig(level='INFO', format='%(name)s: %(message)s')"
    own = "elboflow.training: epoch 1 of 2\nurllib3: a message\n"
    assert shown(*IPYTHON, before=asked_for) == own
    assert shown(*IPYTHON, after=asked_for) == own
    assert shown() == ""
    assert shown(after="import elboflow; elboflow.show_progress()") == "epoch 1 of 2\n"
