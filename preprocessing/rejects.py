"""Rejected examples: the check of their fraction, and the file that lists them."""

import shutil

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing import files
from preprocessing.background import write_stream
from preprocessing.config import DataConfig
from preprocessing.report import Reason, Report

NAME = "rejected.jsonl"
"""The file of a dataset folder with a line for each rejected example."""

_MOST_REASONS = 5  # reasons in an error


def check_rejected(config: DataConfig, report: Report) -> None:
    """Checks that no more examples were rejected than `data.max_reject_fraction` allows.

    Raises:
        WorkError: More were rejected. The message has the most frequent reasons, each with an example and advice.
    """
    count, read = report.left_out, sum(report.read.values())
    if not count or count <= config.max_reject_fraction * read:
        return
    frequent = sorted(report.reasons, key=lambda reason: -reason.count)
    told = [f"{reason.count:,} × {_with_advice(config, report, reason)}" for reason in frequent[:_MOST_REASONS]]
    more = f"; and {counted(len(frequent) - _MOST_REASONS, 'more reason')}" if len(frequent) > _MOST_REASONS else ""
    raise WorkError(
        f"{counted(count, 'example')} of {read:,} {'does' if count == 1 else 'do'} not fit "
        f"({count / read:.2%}; data.max_reject_fraction allows {config.max_reject_fraction:.2%}): "
        f"{'; '.join(told)}{more}"
    )


def _with_advice(config: DataConfig, report: Report, reason: Reason) -> str:
    extent = report.seen.get(reason.feature or "")
    if reason.feature is None or extent is None:
        return reason.example
    advice = config.features[reason.feature].advice(reason.feature, extent)
    return f"{reason.example}; {extent}: {advice}" if advice else reason.example


def written_rejects(report: Report, folder: str) -> dict[str, str]:
    """Writes `rejected.jsonl` into a folder, in the order of the source.

    Returns:
        The path of the file by its final name; empty if no example was rejected.

    Raises:
        WorkError: The file cannot be written.
    """
    if not report.rejected:
        return {}
    path = files.join(folder, NAME)
    with write_stream(path) as target:
        for part in sorted(report.rejected, key=lambda part: part.at):
            with files.open_to_read(part.path) as source:
                shutil.copyfileobj(source, target, length=1 << 20)
    return {NAME: path}
