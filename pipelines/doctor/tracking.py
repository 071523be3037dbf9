"""MLflow: whether it answers, in a version that the installed client speaks."""

import os
import sqlite3
from importlib.metadata import version
from pathlib import Path

from components import servers
from components.masking import masked
from pipelines.doctor import PATIENCE, Finding
from pipelines.workspace import Workspace
from settings.text import counted


def local(folder: Path) -> Finding:
    """Looks at the workspace's own MLflow, which is a file."""
    what, place = "MLflow", Workspace(folder.resolve())
    if not place.database.is_file():
        return Finding(what, "well", f"{version('mlflow')}; the first run makes {place.database.name} in the workspace")
    try:
        with sqlite3.connect(f"file:{place.database}?mode=ro", uri=True, timeout=PATIENCE) as database:
            (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    except sqlite3.Error as error:
        mend = "put it away (mlflow.db); or, after an upgrade, run `mlflow db upgrade sqlite:///…/mlflow.db`"
        return Finding(what, "ill", f"{place.database} cannot be read: {error}", mend)
    return Finding(what, "well", f"{version('mlflow')}; {counted(runs, 'run')} in {place.database.name}")


def server(uri: str) -> Finding:
    """Looks at an MLflow server, as seen from here."""
    import requests

    what, ours = f"MLflow {masked(uri)}", version("mlflow")
    servers.introduce(uri, f"the MLflow at {masked(uri)}")
    try:
        answer = requests.get(f"{uri.rstrip('/')}/version", headers=_token(), auth=_password(), timeout=PATIENCE)
    except (requests.RequestException, servers.NoAnswerError) as error:
        mend = "look at the address, and at the network between; the steps must reach it, too"
        return Finding(what, "ill", f"cannot be reached from here: {short(error)}", mend)
    if answer.status_code in (401, 403):
        mend = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN; give them to steps as `secrets`"
        return Finding(what, "ill", f"refuses the credentials ({answer.status_code})", mend)
    theirs = answer.text.strip()
    if answer.status_code != 200 or not theirs[:1].isdigit() or len(theirs) > 40:
        return Finding(what, "ill", f"is no MLflow: it answers {answer.status_code}", "look at the address")
    if theirs.split(".")[0] != ours.split(".")[0]:
        mend = f"serve MLflow {ours.split('.')[0]}, or install `mlflow=={theirs}` here and in the images"
        return Finding(what, "ill", f"is {theirs}; the client here is {ours}", mend)
    return Finding(what, "well", f"answers; {theirs}, the client here {ours}")


def _token() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _password() -> tuple[str, str] | None:
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    return (name, password) if name and password else None


def short(error: Exception) -> str:
    """Returns what is the matter, without the layers of the libraries around it."""
    said = str(error)
    if isinstance(error, servers.NoAnswerError) and "gave no answer" in said:
        return "no answer in time"
    for sign in ("Name or service not known", "Temporary failure in name resolution", "Connection refused"):
        if sign in said:
            return sign.lower()
    return "no answer in time" if "timed out" in said else said.partition("\n")[0][:120]
