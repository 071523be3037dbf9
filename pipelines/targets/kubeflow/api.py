"""The requests to Kubeflow Pipelines that runs and schedules share, through `kfp.Client`."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, TypeVar

from components.surroundings import retries, servers
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError
from pipelines.targets import Job, RunState
from pipelines.targets.kubeflow import states
from pipelines.targets.kubeflow.connection import Connection, Renewable, credentials, delay, explained

Answer = TypeVar("Answer")

DESCRIPTION = "ELBOflow experiment"
"""Describes the Kubeflow experiments that hold our runs, and by which they are told from others'."""

TIMEOUT = (10.0, 60.0)
"""Seconds for connecting, and for an answer."""


class API:
    """Kubeflow Pipelines, asked as a connection says.

    Args:
        connection: Where, and as whom.
        reached: Called whenever Kubeflow has answered.
    """

    def __init__(self, connection: Connection, reached: Callable[[], None] = lambda: None) -> None:
        self.connection = connection
        self._reached = reached
        self._names: dict[str, str] = {}
        self._versions: dict[tuple[str, str], dict[str, Any]] = {}

    def asking(self, what: str) -> AbstractContextManager[None]:
        """Surrounds requests: their errors become lines for a person."""
        return explained(self.connection, what, self._reached)

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Returns the answer to a request that is safe to repeat, with retries."""
        return retries.retried(ask, delay)

    @cached_property
    def client(self) -> Any:
        """The `kfp.Client`."""
        return self.patiently(lambda: _client(self.connection))

    @cached_property
    def requests(self) -> Any:
        """The generated client of runs, for what `kfp.Client` has no method for."""
        return self.client._run_api

    def raw(self, path: str, **parameters: str) -> Any:
        """Returns the response to a GET request that `kfp.Client` has no method for."""
        return self.patiently(lambda: _raw(self.requests.api_client, path, parameters))

    def version(self) -> str | None:
        """Returns the version of Kubeflow Pipelines; None where it does not say it."""
        told = json.loads(self.raw("/apis/v2beta1/healthz").data).get("tag_name")
        return str(told) if told and told != "unknown" else None

    def once(self, create: Callable[[], Any], find: Callable[[], Any]) -> Any:
        """Returns what `create` makes, which `find` looks for before each retry by its unique name: Kubeflow takes
        two of the same name."""
        return retries.created_once(create, find, delay)

    def experiment(self, name: str) -> str:
        """Returns the id of the Kubeflow experiment of a name, which is made where there is none."""
        made = self.patiently(lambda: self.client.create_experiment(name, description=DESCRIPTION))
        self._names[made.experiment_id] = name
        id: str = made.experiment_id
        return id

    def experiments(self) -> dict[str, str]:
        """Returns the names of our experiments by their ids."""
        found = pages(
            lambda token: self.patiently(lambda: self.client.list_experiments(page_token=token, page_size=100)),
            "experiments",
        )
        self._names = {each.experiment_id: each.display_name for each in found if each.description == DESCRIPTION}
        return self._names

    def experiment_name(self, id: str) -> str:
        """Returns the name of an experiment."""
        if id not in self._names:
            self._names[id] = self.patiently(lambda: self.client.get_experiment(experiment_id=id)).display_name
        return self._names[id]

    def specification(self, run: Any) -> dict[str, Any]:
        """Returns the pipeline of a run: its own, or that of the published version which it names instead.

        It is empty where the version was deleted since.
        """
        if run.pipeline_spec or run.pipeline_version_reference is None:
            return _pipeline(run.pipeline_spec)
        reference = run.pipeline_version_reference
        return self.published(reference.pipeline_id or "", reference.pipeline_version_id or "")

    def published(self, pipeline: str, id: str) -> dict[str, Any]:
        """Returns the pipeline of a published version; empty where there is none."""
        from kfp_server_api import ApiException

        if (pipeline, id) not in self._versions:
            try:
                found = self.patiently(lambda: self.client.get_pipeline_version(pipeline, id)).pipeline_spec
            except ApiException as error:
                if error.status != 404:
                    raise
                found = None
            self._versions[pipeline, id] = _pipeline(found)
        return self._versions[pipeline, id]

    def state(self, run: Any) -> RunState:
        """Returns a `V2beta1Run` as a run."""
        return states.run_state(run, self.specification(run), self.experiment_name(run.experiment_id), self.connection)

    @contextmanager
    def source(self, job: Job) -> Iterator[dict[str, Any]]:
        """Gives what `kfp.Client` wants to know of a job's pipeline: a file, or the ids of a published version."""
        if job.release is not None:
            pipeline, _, version = job.release.partition("/")
            self.published(pipeline, version)  # now, since nothing may fail once the run has been started
            yield {"pipeline_id": pipeline, "version_id": version}
            return
        with temporary_folder() as folder:
            package = folder / "pipeline.yaml"
            package.write_text(job.specification or "", encoding="utf-8")
            yield {"pipeline_package_path": str(package)}


def _pipeline(document: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the pipeline of a document in which a platform's own specification may stand beside it."""
    given = document or {}
    inner: dict[str, Any] = given.get("pipeline_spec", given)
    return inner


def equal(key: str, value: str) -> str:
    """Returns a filter of Kubeflow's lists."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def pages(page: Callable[[str], Any], what: str, limit: int = 1000) -> list[Any]:
    """Returns what all pages of a list hold, up to a limit."""
    found: list[Any] = []
    token = ""
    while True:
        answer = page(token)
        found += getattr(answer, what) or []
        token = answer.next_page_token or ""
        if not token or len(found) >= limit:
            return found[:limit]


def _raw(client: Any, path: str, parameters: dict[str, str]) -> Any:
    return client.call_api(
        path,
        "GET",
        path_params=parameters,
        auth_settings=["Bearer"],
        _preload_content=False,
        _return_http_data_only=True,
        _request_timeout=TIMEOUT,
    )


def _authorization(configuration: Any) -> dict[str, str]:
    """Returns the header that says who asks, of credentials that are asked for their token now."""
    return {each["key"]: each["value"] for each in configuration.auth_settings().values()}


def _client(connection: Connection) -> Any:
    servers.watch()
    if connection.host is not None:
        servers.introduce(connection.host, connection.place)
    from kfp_server_api.rest import RESTClientObject
    from urllib3.exceptions import SSLError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp_server_api
        from kfp.client import Client
        from kfp.client import client as kfp_client

        kfp_client.print = lambda *_, **__: None  # links to what it makes, where our results go

        class Requests(RESTClientObject):
            """Requests that end: the generated client waits for ever, and stumbles over a failed TLS handshake.

            One that is refused for its token (401) is made again with a new one, where there are credentials to get it.
            """

            def request(self, *arguments: Any, _request_timeout: Any = None, **rest: Any) -> Any:
                def ask() -> Any:
                    return super(Requests, self).request(
                        *arguments, _request_timeout=_request_timeout or TIMEOUT, **rest
                    )

                try:
                    return ask()
                except kfp_server_api.ApiException as error:
                    if error.status == 401 and isinstance(who.get("credentials"), Renewable):
                        who["credentials"].expire()
                        rest["headers"] = {**rest["headers"], **_authorization(shared.configuration)}
                        return ask()
                    if error.status == 0:
                        raise SSLError(error.reason) from None
                    raise

        class OurClient(Client):
            """`kfp.Client` that neither reads nor writes `~/.config/kfp`."""

            def _load_config(self, *arguments: Any, **rest: Any) -> Any:
                config = super()._load_config(*arguments, **rest)
                config.retries = False  # `patiently` repeats what is safe to repeat
                return config

            def _load_context_setting_or_default(self) -> None:
                self._context_setting = {"namespace": connection.namespace}

        host = connection.host
        if connection.credentials.kind == "in_cluster" and host is None:
            host = f"http://ml-pipeline.{connection.namespace}.svc.cluster.local:8888"
        who = credentials(connection)
        client = OurClient(host=host, ssl_ca_cert=os.environ.get("REQUESTS_CA_BUNDLE"), **who)
    shared = client._run_api.api_client
    if shared.configuration.host == kfp_server_api.Configuration().host:
        raise RequestError("targets.kubeflow.host: missing, and there is no kubeconfig to find the cluster by")
    shared.rest_client = Requests(shared.configuration)
    if not kfp_server_api.HealthzServiceApi(shared).healthz_service_get_healthz().multi_user:
        client._context_setting["namespace"] = ""  # a Kubeflow of one user refuses every namespace
    return client
