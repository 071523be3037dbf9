"""Tags and aliases that two processes may write at once."""

import re
from collections.abc import Callable

# As PostgreSQL, SQLite, MySQL and SQL Server say it.
_THERE_ALREADY = re.compile(r"unique constraint|duplicate (key|entry)", re.IGNORECASE)


def upsert(write: Callable[..., object], *arguments: str) -> None:
    """Writes a tag or an alias of a registered model or a version, also if another process writes it at this moment.

    MLflow looks for the row, and then changes or inserts it. Of two that insert, the database refuses the slower one;
    its second try finds a row to change.

    Args:
        write: The method of `MlflowClient`.
        arguments: Its arguments.
    """
    from mlflow import MlflowException

    try:
        write(*arguments)
    except MlflowException as error:
        if not _THERE_ALREADY.search(str(error)):
            raise
        write(*arguments)
