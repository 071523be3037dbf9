"""The two components at the ends of a pipeline on a platform: is there anything to do, and how did it end?

Like those of `pipelines/graphs/steps.py`, they only call the plain functions of the same names in `components/`.
"""

from kfp import dsl
from kfp.dsl import Artifact, Output, PipelineTaskFinalStatus

from pipelines.graphs.steps import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def decide(
    data: str, experiment: str, if_changed: bool, run: str, job: str, tracking_uri: str, decision: Output[Artifact]
) -> str:
    """Answers `run` or `skip`; the artifact's metadata say why. The MLflow run of a run that is not skipped is made."""
    from pipelines.step_process.process import step

    with step(decision.path):
        import json
        import logging

        from components.decide import Change, changed
        from components.finish import begin
        from preprocessing.config import DataConfig

        if if_changed:
            change = changed(DataConfig.model_validate_json(data), json.loads(experiment), tracking_uri)
        else:
            change = Change(True, "asked to run whether anything changed or not")
        answer = "run" if change.changed else "skip"
        if change.changed:
            begin(json.loads(experiment), run, tracking_uri, job=job)
        decision.metadata.update(answer=answer, reason=change.reason)
        logging.getLogger("elboflow.ending").info("%s: %s", answer, change.reason)
        return answer


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(
    status: PipelineTaskFinalStatus, experiment: str, run: str, job: str, console: str, notify: str, tracking_uri: str
) -> None:
    """Writes how the run ended into MLflow, and tells it where the experiment asks for that.

    It is the exit task of the pipeline. `console` is what stands before the id of a job in the address of its page.
    """
    from pipelines.step_process.process import step

    with step():
        import json
        import logging

        from pydantic import TypeAdapter

        from components.config import Notification
        from components.finish import finish
        from elboflow.settings import RequestError, WorkError
        from pipelines.step_process.run_outcome import run_outcome

        recorded = json.loads(experiment)
        ended = run_outcome(status, recorded["name"], run, console + job if console else None, tracking_uri)
        notification = TypeAdapter(Notification).validate_json(notify) if notify else None
        try:
            finish(ended, recorded, notification, tracking_uri)
        except (RequestError, WorkError) as error:
            # It has told how the run ended. A failure here would be tried again, and tell it again.
            logging.getLogger("elboflow.ending").error("how the run ended is not in MLflow: %s", error)
