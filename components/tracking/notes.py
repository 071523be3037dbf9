"""Markdown on MLflow's pages: a run's note, and the descriptions of versions and registered models.

A text ends with a comment that the pages do not show: the digest of what stands before it. A text without it was edited
by a person and is never replaced.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from components.surroundings.masking import masked
from components.tracking.limits import LONGEST_NOTE, shortened
from elboflow.settings.digest import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE = "mlflow.note.content"
"""The tag of a run's note."""
_LONGEST_REASON = 2000

_SEAL = re.compile(r"\n\n<!-- elboflow ([0-9a-f]{16}) -->\Z")
_SIGNS = re.compile(r"([\\`*_\[\]<>|#~&])")


def set_note(client: "MlflowClient", run_id: str, text: str) -> None:
    """Writes the note of a run, unless a person has edited it."""
    note = replacement(client.get_run(run_id).data.tags.get(NOTE), text)
    if note is not None:
        client.set_tag(run_id, NOTE, note)


def replacement(present: str | None, text: str) -> str | None:
    """Returns what is to be stored for a text; None where that is stored already, or a person has edited it.

    Args:
        present: What is stored now.
        text: Markdown of at most `LONGEST_NOTE` characters; a longer one is cut off.
    """
    text = shortened(masked(text), LONGEST_NOTE - len(_seal("")))
    new = text + _seal(text)
    return new if new != present and not _is_edited(present) else None


def unsealed(present: str | None) -> str | None:
    """Returns a text that was written here, without its seal; None where there is none, or a person has edited it."""
    if not present or _is_edited(present):
        return None
    return _SEAL.sub("", present)


def _is_edited(present: str | None) -> bool:
    if not present:
        return False
    found = _SEAL.search(present)
    return found is None or present != present[: found.start()] + _seal(present[: found.start()])


def _seal(text: str) -> str:
    return f"\n\n<!-- elboflow {digest([text])[:16]} -->"


def escaped(text: str) -> str:
    """Returns a text of any origin as Markdown that shows it as it is, in one line."""
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table of texts of any origin; all columns but the first are aligned to the right."""
    lines = [head, [":--"] + ["--:"] * (len(head) - 1), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_failure(run: str, outcome: str, step: str | None, reason: str | None, target: str | None) -> str:
    """Returns the note of a run that did not succeed.

    Args:
        run: Name of the pipeline run.
        outcome: `failed`, `cancelled` or `killed`.
        step: The step that failed, where it is known.
        reason: Why, where it is known.
        target: Where it ran: `local`, `kubeflow` or `vertex`.
    """
    where = f" in the step {escaped(step)}" if step else ""
    why = f": {escaped(shortened(reason, _LONGEST_REASON))}" if reason else ""
    there = [] if target in (None, "local") else ["--target", target]
    again = shlex.join(["elboflow", "runs", "retry", run, *there])
    return (
        f"**{outcome.capitalize()}{where}**{why}\n\nTo repeat it from the step that did not end:\n\n```sh\n{again}\n```"
    )
