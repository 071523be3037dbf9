"""Tables among a run's artifacts, which MLflow's pages show as such: a JSON file, and a tag that names it.

MLflow's own `log_table` appends the rows to a file that is there: a registration that is done again would double them.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "mlflow.loggedArtifacts"


def log_table(
    client: "MlflowClient", run_id: str, file: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Writes a table into a run, in the place of an earlier one.

    Args:
        client: A client.
        run_id: The run.
        file: Where among its artifacts: `NAME.json`.
        columns: The names of the columns.
        rows: The values by row, as JSON.
    """
    client.log_text(run_id, json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}), file)
    tables = json.loads(client.get_run(run_id).data.tags.get(_TAG, "[]"))
    if (entry := {"path": file, "type": "table"}) not in tables:
        client.set_tag(run_id, _TAG, json.dumps([*tables, entry]))
