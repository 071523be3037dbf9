"""An MLflow server: whether it answers, in a version that the installed client speaks."""

from importlib.metadata import version

from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import preflight
from pipelines.targets.checks import SECONDS, Check, Finding


def check(uri: str) -> Check:
    """Returns the check of a server."""
    return Check(f"MLflow {masked(uri)}", lambda: server(uri))


def server(uri: str) -> Finding:
    """Asks an MLflow server for its version."""
    import requests

    what, ours = f"MLflow {masked(uri)}", version("mlflow")
    try:
        answer = preflight.version_of(uri, SECONDS)
    except (requests.RequestException, servers.NoAnswerError) as error:
        mend = "look at the address, and at the network between; the steps must reach it, too"
        return Finding(what, "ill", f"cannot be reached from here: {servers.short(error)}", mend)
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
