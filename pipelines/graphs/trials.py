"""The components of a sweep, besides those that it shares with a run: each body calls a plain function.

A trial's component is called `train`, like that of a run, and so gets what targets give to that step.
"""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from pipelines.graphs.steps import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def begin(dataset: Input[Dataset], experiment: str, over: str, run: str, tracking_uri: str, date: str = "") -> None:
    """Makes the sweep's run in MLflow, the parent of the trials' runs."""
    from pipelines.step_process.process import step

    with step():
        import json

        from components.sweep.history import Sweep
        from preprocessing.reader import open_dataset

        wanted = json.loads(experiment)
        digest = open_dataset(dataset.path).manifest.digest
        Sweep(wanted, run, tracking_uri).open(json.loads(over), digest, date or None)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    experiment: str,
    values: str,
    run: str,
    trials_root: str,
    tracking_uri: str,
    waits: list,
    trial: Output[Artifact],
) -> None:
    """The dataset and a candidate → a trial. Under a root, the trial has the folder of its digest and outlives the run.

    A training that fails is an outcome of the trial, and no failure of this step. What may pass is tried again here,
    after so many seconds each time: platforms ignore the retries of a step in a loop.
    """
    import json
    from pathlib import Path

    from pipelines.step_process.process import REFUSAL, step
    from pipelines.sweeps.candidates import candidate

    tried = candidate(json.loads(experiment), json.loads(values))
    if trials_root:
        trial.uri = f"{trials_root}/{tried.digest}"
    # The folder outlives the run: what an earlier one was refused for may have been mended.
    (Path(trial.path) / REFUSAL).unlink(missing_ok=True)

    with step(f"{trial.path}/trial.json"):
        import logging

        from components.sweep.history import Sweep
        from components.sweep.recorded_trial import attempt_again

        outcome = attempt_again(
            dataset.path, tried, Path(trial.path), lambda: Sweep(tried.experiment, run, tracking_uri), waits
        )
        logging.getLogger("elboflow.sweep").info("%s: %s", tried, outcome)
        trial.metadata.update(digest=outcome.digest, values=values, status=outcome.status, bound=outcome.bound or 0.0)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def search(
    dataset: Input[Dataset],
    experiment: str,
    over: str,
    settings: str,
    parallel: int,
    study: str,
    run: str,
    trials_root: str,
    tracking_uri: str,
    model: Output[Model],
    comparison: Output[Artifact],
    date: str = "",
) -> NamedTuple("Chosen", [("experiment", str), ("seed", int)]):  # type: ignore[valid-type]  # in the step, no class of this module is known
    """The dataset → the trials of a study, one folder each under the root → as `choose`."""
    from pipelines.step_process.process import step

    with step(model.path):
        import json
        from pathlib import Path

        from components.sweep.history import Sweep
        from components.sweep.trial import of_run
        from pipelines.sweeps.candidates import SearchSettings, choose_best_trial
        from pipelines.sweeps.study import Settings, search
        from preprocessing.reader import open_dataset

        wanted, varied = json.loads(experiment), json.loads(over)
        tracked = Sweep(wanted, run, tracking_uri)
        tracked.open(varied, open_dataset(dataset.path).manifest.digest, date or None)
        search(
            dataset.path,
            wanted,
            varied,
            Settings(SearchSettings(**json.loads(settings)), parallel, study),
            Path(trials_root),
            tracked,
        )
        folders = of_run(Path(trials_root), run)
        return choose_best_trial(folders, experiment, over, run, tracking_uri, Path(model.path), Path(comparison.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def worker_pools(
    dataset: Input[Dataset],
    experiment: str,
    over: str,
    run: str,
    trials_root: str,
    tracking_uri: str,
    pool: str,
    date: str = "",
) -> list:
    """The dataset → the worker pools of a tuning job on Vertex AI, whose container is a trial.

    Makes the sweep's run in MLflow, too, the parent of the trials' runs.
    """
    from pipelines.step_process.process import step

    with step():
        import json

        from components.sweep.history import Sweep
        from pipelines.sweeps.tuning import Trial, worker_pools
        from preprocessing.reader import open_dataset

        digest = open_dataset(dataset.path).manifest.digest
        Sweep(json.loads(experiment), run, tracking_uri).open(json.loads(over), digest, date or None)
        trial = Trial(dataset.path, json.loads(experiment), json.loads(over), run, trials_root, tracking_uri)
        return worker_pools(trial, json.loads(pool))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def choose(
    trials: Input[list[Artifact]],
    experiment: str,
    over: str,
    run: str,
    tracking_uri: str,
    model: Output[Model],
    comparison: Output[Artifact],
) -> NamedTuple("Chosen", [("experiment", str), ("seed", int)]):  # type: ignore[valid-type]  # in the step, no class of this module is known
    """The trials → the best model, the experiment that it is of, and a comparison of all."""
    from pipelines.step_process.process import step

    with step(model.path):
        from pathlib import Path

        from pipelines.sweeps.candidates import choose_best_trial

        folders = [Path(trial.path) for trial in trials]
        return choose_best_trial(folders, experiment, over, run, tracking_uri, Path(model.path), Path(comparison.path))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def choose_found(
    trials_root: str,
    experiment: str,
    over: str,
    run: str,
    tracking_uri: str,
    model: Output[Model],
    comparison: Output[Artifact],
) -> NamedTuple("Chosen", [("experiment", str), ("seed", int)]):  # type: ignore[valid-type]  # in the step, no class of this module is known
    """The trials that a search left under a root → as `choose`."""
    from pipelines.step_process.process import step

    with step(model.path):
        from pathlib import Path

        from components.sweep.trial import of_run
        from pipelines.sweeps.candidates import choose_best_trial, mounted

        folders = of_run(mounted(trials_root), run)
        return choose_best_trial(folders, experiment, over, run, tracking_uri, Path(model.path), Path(comparison.path))
