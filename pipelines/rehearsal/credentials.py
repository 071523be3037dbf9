"""Who asks a double of Kubeflow: as the experiment says, with tokens that expire."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from elboflow.testing.platforms.google_identity import GoogleIdentity
from elboflow.testing.platforms.kubeflow import KubeflowServer
from elboflow.testing.platforms.tokens import Tokens
from pipelines.experiment.kubeflow import IdentityAwareProxy, InCluster, KubeflowTarget, Token

ROBOT = "system:serviceaccount:rehearsal"


@dataclass(frozen=True)
class Credentials:
    """The credentials of a rehearsal's commands.

    Attributes:
        tokens: The tokens that the platform takes; None where none expires.
        renewed: Lets whoever does so in production put a current token in its place.
        by_itself: Whether that happens without a person.
    """

    tokens: Tokens | None
    renewed: Callable[[], None] = lambda: None
    by_itself: bool = True


def of_kubeflow(open_now: ExitStack, target: KubeflowTarget, cluster: KubeflowServer, folder: Path) -> Credentials:
    """Lets a cluster admit its callers as an experiment says that they ask, and returns their credentials.

    The cookie of an identity provider is not rehearsed: such a cluster admits everybody.
    """
    match target.credentials:
        case IdentityAwareProxy():
            identity = open_now.enter_context(GoogleIdentity(folder))
            os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(identity.file)
            cluster.tokens = identity.identities
            return Credentials(identity.identities)
        case Token(variable=variable):
            given = Tokens()

            def log_in() -> None:
                os.environ[variable] = given.issue("a person")

            credentials = Credentials(given, log_in, by_itself=False)
        case InCluster():
            given, file = Tokens(), folder / "token"
            os.environ["KF_PIPELINES_SA_TOKEN_PATH"] = str(file)

            def project() -> None:
                file.write_text(given.issue(ROBOT), encoding="utf-8")

            credentials = Credentials(given, project)
        case _:
            return Credentials(None)
    cluster.tokens = given
    credentials.renewed()
    return credentials
