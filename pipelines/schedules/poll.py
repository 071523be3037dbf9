"""The process that looks at the data of one schedule, `python -m pipelines.schedules.poll WORKSPACE SCHEDULE`.

Sizes and times of the files are looked at first; only where these are others, the data are read for their fingerprint.
The first look is what later ones are compared with.
"""

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from elboflow.artifacts.lock import hold
from elboflow.settings import WorkError
from elboflow.settings.digest import digest
from pipelines.experiment import Experiment
from pipelines.schedules import polls
from pipelines.schedules.states import Schedule
from pipelines.schedules.store import Store
from pipelines.schedules.triggers import enqueue
from preprocessing import files
from preprocessing.files import AbsentError
from preprocessing.sources import open_source

ABSENT = "absent"


@dataclass(frozen=True)
class Seen:
    """The data of a schedule, as they were at a look.

    Attributes:
        signature: A digest of names, sizes and times of the files.
        fingerprint: The source's own, for dated data with their places; `absent` where no look has found them.
    """

    signature: str
    fingerprint: str


def main(workspace: Path, id: str) -> None:
    """Looks at the data, and puts a tick into the queue where they have changed."""
    lock = hold(workspace / f"poll-{id}.lock")
    if lock is None:
        return
    try:
        with Store(workspace) as store:
            schedule, before, now = store.schedule(id), polls.seen(store, id), datetime.now(UTC)
            if schedule is None or schedule.deleted is not None:
                return
            try:
                seen = look(schedule, None if before is None else Seen(*before), now)
            except AbsentError as error:  # what was seen before stays: data may come back as they were
                polls.end(store, id, (ABSENT, ABSENT) if before is None else None, str(error))
                return
            except (WorkError, OSError, ValueError) as error:
                polls.end(store, id, None, str(error))
                return
            with store.transaction():
                is_other = before is not None and seen.fingerprint != before[1]
                if not is_other or enqueue(store, schedule, now):
                    polls.end(store, id, (seen.signature, seen.fingerprint), None)
    finally:
        os.close(lock)


def look(schedule: Schedule, before: Seen | None, now: datetime) -> Seen:
    """Returns what the data of a schedule are now.

    Raises:
        AbsentError: They are not there.
        RequestError, WorkError, OSError: They cannot be looked at.
    """
    experiment = Experiment.model_validate(schedule.experiment).dated(now)
    data = experiment.data_of_date
    raw = open_source(data)
    signature = digest([[path, *_state(path)] for path in raw.paths()])
    if before is not None and before.signature == signature:
        return before
    fingerprint = raw.fingerprint()
    if experiment.data.source.is_dated:  # the same content of another date is other data
        fingerprint = digest([data.source.locations, fingerprint])
    return Seen(signature, fingerprint)


def _state(path: str) -> list[float]:
    """Returns the size of a file and when it was written."""
    if not files.is_uri(path):
        found = Path(path).expanduser().stat()
        return [found.st_size, found.st_mtime]
    from apache_beam.io.filesystems import FileSystems

    (matched,) = FileSystems.match([path])
    return [each for file in matched.metadata_list for each in (file.size_in_bytes, file.last_updated_in_seconds)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
