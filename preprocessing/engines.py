"""The engines that run the Beam graph: Beam's own in this process, a Flink cluster, Dataflow.

The dataset is the same on every engine, byte for byte: shards are sorted by content, and the statistics are sums
of whole numbers. What differs is where workers are, and so which files they can reach.
"""

import contextlib
import logging
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from preprocessing import files
from preprocessing.runners import DataflowRunner, DirectRunner, FlinkRunner, Runner

LOG = logging.getLogger("elboflow.preprocessing")
VERTEX_MOUNT = "/gcs/"  # where Vertex AI shows its steps all buckets
PATIENCE = 10  # seconds that a job server may take to accept a connection
GRACE = 20  # seconds for cancelling a job; a pod is killed 30 s after its SIGTERM


def output_of(runner: Runner, output: str) -> str:
    """Returns the dataset's folder under the name by which workers know it."""
    if isinstance(runner, DataflowRunner) and output.startswith(VERTEX_MOUNT):
        return f"gs://{output.removeprefix(VERTEX_MOUNT)}"
    return output


def check(runner: Runner, paths: list[str], output: str) -> str:
    """Looks, before anything runs, whether the workers can read the source and write their results.

    Args:
        runner: Where the graph is to run.
        paths: The files that the source consists of.
        output: The dataset's folder.

    Returns:
        The folder in which the workers write: the dataset's own, or the runner's temporary one.

    Raises:
        RequestError: They cannot.
    """
    if isinstance(runner, DirectRunner):
        return output
    where = "Dataflow's workers" if isinstance(runner, DataflowRunner) else "the workers of the Flink cluster"
    for path in paths:
        if files.is_uri(path) or (isinstance(runner, FlinkRunner) and Path(path).is_absolute()):
            continue
        mounted = path.startswith(VERTEX_MOUNT) and isinstance(runner, DataflowRunner)
        wanted = f"write gs://{path.removeprefix(VERTEX_MOUNT)}" if mounted else "a URI is needed, such as gs://…"
        if isinstance(runner, FlinkRunner):
            wanted = "a URI, or an absolute path on a volume that they share, is needed"
        raise RequestError(f"data.source: {where} cannot read {path}, a path of this machine; {wanted}")
    if isinstance(runner, DataflowRunner):
        needed = {name: getattr(runner, name) for name in ("project", "region", "temporary", "image")}
        if absent := [f"runner.{name}" for name, value in needed.items() if value is None]:
            raise RequestError(f"{', '.join(absent)}: missing; Dataflow needs to know")
        _require_credentials()
        return output if output.startswith("gs://") else str(runner.temporary)
    folder = runner.temporary or output
    return folder if files.is_uri(folder) else str(Path(folder).absolute())


def run(runner: Runner, threads: int, name: str, add_graph: Callable[[beam.Pipeline], None]) -> None:
    """Runs a graph to its end.

    An exception during the wait, such as an interrupt or a SIGTERM, cancels what was started elsewhere.

    Args:
        runner: Where.
        threads: Of the direct runner; an engine elsewhere decides for itself.
        name: What an engine elsewhere calls the job, besides a part that no other job has.
        add_graph: Adds the graph to a pipeline.

    Raises:
        RequestError: The engine does not take the runner's settings.
        WorkError: An engine elsewhere could not be reached, or the job failed there.
    """
    if isinstance(runner, DirectRunner):
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

        mode = "in_memory" if threads == 1 else "multi_threading"
        options = PipelineOptions(_COMMON, direct_num_workers=threads, direct_running_mode=mode)
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)  # the default would look for Prism, a Go binary
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)  # Beam's own, which a kill would leave behind
        with _interrupts_kept(), temporary_folder() as temporary:
            pipeline.local_tempdir = str(temporary)
            with pipeline:
                add_graph(pipeline)
        return
    job = f"{name}-{uuid.uuid4().hex[:8]}"
    engine: beam.runners.PipelineRunner
    if isinstance(runner, FlinkRunner):
        from apache_beam.runners.portability.portable_runner import PortableRunner

        _require_job_server(runner.job_server)
        place, engine, arguments = f"Flink, {runner.job_server}", PortableRunner(), flink_arguments(runner, job)
    else:
        from apache_beam.runners.dataflow import dataflow_runner

        place, engine = f"Dataflow, {runner.project}, {runner.region}", dataflow_runner.DataflowRunner()
        arguments = dataflow_arguments(runner, job)
    try:
        pipeline = beam.Pipeline(runner=engine, argv=[*_COMMON, *arguments])
    except ValueError as error:  # Beam's validation of its options
        raise RequestError(f"runner: {_last_line(error)}") from None
    add_graph(pipeline)
    try:
        result = pipeline.run()
        try:
            LOG.info("submitted the job %s to %s", job, _console(runner, result) or place)
            result.wait_until_finish()
        except BaseException:  # a SIGTERM is no Exception: a cancelled step, or a machine that is taken away
            _cancel(result, job, place)
            raise
    except Exception as error:
        raise WorkError(f"the job {job} failed ({place}): {_last_line(error)}") from error


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Lets an interrupt of a worker in this process through as what it is.

    Beam logs what a worker raises, an interrupt too, with its traceback, and raises a RuntimeError in its place.
    """
    told = logging.getLogger("apache_beam.runners.common")
    before = told.level
    told.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while isinstance(cause, Exception):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise
    finally:
        told.setLevel(before)


def _cancel(result: Any, job: str, place: str) -> None:
    """Cancels a job that has not ended: this process is about to end, and would start another the next time."""
    went_wrong: list[Exception] = []

    def cancel() -> None:
        with contextlib.suppress(Exception):  # an engine that does not say is told to cancel all the same
            if PipelineState.is_terminal(result.state):
                return
        LOG.info("cancelling the job %s", job)
        try:
            result.cancel()
        except Exception as error:
            went_wrong.append(error)

    cancelling = threading.Thread(target=cancel, daemon=True)
    cancelling.start()
    cancelling.join(GRACE)
    if cancelling.is_alive() or went_wrong:
        why = _last_line(went_wrong[0]) if went_wrong else f"no answer within {GRACE} s"
        LOG.warning("could not cancel the job %s, which may go on; cancel it by hand (%s): %s", job, place, why)


def flink_arguments(runner: FlinkRunner, job: str) -> list[str]:
    """Returns Beam's options for a job on a Flink cluster."""
    workers = ("DOCKER", runner.image) if runner.image else ("EXTERNAL", runner.pool)
    given = {
        "job_name": job,
        "job_endpoint": runner.job_server,
        "environment_type": workers[0],
        "environment_config": workers[1],
        "parallelism": runner.parallelism,
    }
    return _arguments(given)


def dataflow_arguments(runner: DataflowRunner, job: str) -> list[str]:
    """Returns Beam's options for a job on Dataflow."""
    given = {
        "job_name": job,
        "project": runner.project,
        "region": runner.region,
        "temp_location": f"{runner.temporary}/dataflow",
        "staging_location": f"{runner.temporary}/dataflow",
        "sdk_container_image": runner.image,
        "sdk_location": "container",
        "max_num_workers": runner.workers,
        "machine_type": runner.machine,
        "service_account_email": runner.service_account,
        "subnetwork": runner.subnetwork,
        "dataflow_kms_key": runner.encryption_key,
        "dataflow_endpoint": runner.endpoint,
    }
    return _arguments(given) + ([] if runner.public_addresses else ["--no_use_public_ips"])


_COMMON = ["--no_pipeline_type_check"]


def _arguments(given: dict[str, str | int | None]) -> list[str]:
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _require_job_server(address: str) -> None:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise WorkError(f"no Flink job server answers at {address}: {error}") from None


def _require_credentials() -> None:
    """Looks for credentials before Beam does, which would try for minutes and then go on without any."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        google.auth.default()
    except DefaultCredentialsError:
        raise RequestError(
            "Dataflow: there are no Application Default Credentials; on a machine of your own, make them with "
            "`gcloud auth application-default login`"
        ) from None


def _console(runner: Runner, result: Any) -> str | None:
    """Returns the page of a Dataflow job."""
    if not isinstance(runner, DataflowRunner):
        return None
    job = f"{runner.region}/{result.job_id()}"
    return f"Dataflow: https://console.cloud.google.com/dataflow/jobs/{job}?project={runner.project}"


def _last_line(error: Exception) -> str:
    """Returns what an engine said in the end: the lines before are tracebacks of its workers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() not in ("", "None")]
    return lines[-1] if lines else type(error).__name__
