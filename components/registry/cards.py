"""The descriptions of a registered model and of a version that becomes the champion after its registration."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from components.tracking import notes, tags
from components.tracking.notes import escaped
from components.tracking.pages import in_workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


def promoted(client: "MlflowClient", name: str, version: int, reason: str) -> None:
    """Lets the descriptions say that a version is the champion now; what a person has edited is kept.

    Args:
        client: MLflow.
        name: Name of the registered model.
        version: The version.
        reason: Why it is the champion.
    """
    found = client.get_model_version(name, str(version))
    own = notes.unsealed(found.description)
    card = "" if own is None else own.partition("\n\n")[2]
    if own is not None and (
        text := notes.replacement(found.description, f"Promoted to {CHAMPION}: {escaped(reason)}.\n\n{card}")
    ):
        client.update_model_version(name, str(version), text)
    page = f"#/models/{quote(name, safe='')}/versions/{version}"
    text = about_model(
        found.tags.get(tags.EXPERIMENT, name), f"[version {version}]({page}{in_workspace()})", reason, card
    )
    if text := notes.replacement(client.get_registered_model(name).description, text):
        client.update_registered_model(name, text)


def about_model(experiment: str, version: str, reason: str, card: str) -> str:
    """Returns the description of a registered model.

    Args:
        experiment: Name of the experiment.
        version: The champion, as Markdown.
        reason: Why it is the champion.
        card: Its model card.
    """
    head = f"VAE of the experiment {escaped(experiment)}. The alias `{CHAMPION}` marks the version to use."
    why = escaped(f"{reason[:1].upper()}{reason[1:]}.")
    return f"{head}\n\nThe latest that was promoted: {version}. {why}\n\n{card}"
