"""KFP's local loop, with as many iterations at once as the pipeline asks for.

KFP's own runs two at most, also if the pipeline says otherwise. After an interrupt, it starts the iterations that
wait.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any

from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator
from kfp.local.status import Status


@contextmanager
def loops(stop: Callable[[], None]) -> Iterator[None]:
    """Makes KFP run its loops as the pipeline says.

    Args:
        stop: Ends the processes at work; called when the loop is interrupted.
    """
    before = orchestrator.ParallelExecutor
    orchestrator.ParallelExecutor = partial(_Loop, stop)
    try:
        yield
    finally:
        orchestrator.ParallelExecutor = before


class _Loop:
    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def execute_parallel_tasks(
        self, tasks: list[tuple[str, Any]], io_store: Any, fail_stack: list[str], parallelism_limit: int, **given: Any
    ) -> tuple[dict[str, Any], Status]:
        """Runs the iterations of a loop; returns their outputs by the iteration's name."""
        outputs: dict[str, Any] = {}
        with ThreadPoolExecutor(parallelism_limit or len(tasks)) as threads:
            names = {
                threads.submit(
                    orchestrator.execute_task,
                    task_name=name,
                    task_spec=specification,
                    io_store=io_store,
                    fail_stack=fail_stack,
                    **given,
                ): name
                for name, specification in tasks
            }
            try:
                for future in as_completed(names):
                    outputs[names[future]], status = future.result()
                    if status == Status.FAILURE:
                        fail_stack.append(names[future])
                        threads.shutdown(cancel_futures=True)
                        return {}, Status.FAILURE
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise
        return outputs, Status.SUCCESS
