"""Beam's in-process engine: the workers are threads of the step."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from elboflow.artifacts.temporary import temporary_folder
from preprocessing.engines import Engine

if TYPE_CHECKING:
    import apache_beam as beam


class Direct(Engine):
    """Beam's in-process runner, with `data.workers` threads."""

    is_here: ClassVar = True

    kind: Literal["direct"] = "direct"

    def check(self, paths: list[str], output: str) -> str:
        return output

    def run(self, threads: int, name: str, add_graph: "Callable[[beam.Pipeline], None]") -> None:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

        from preprocessing.engines._job import COMMON

        mode = "in_memory" if threads == 1 else "multi_threading"
        options = PipelineOptions(COMMON, direct_num_workers=threads, direct_running_mode=mode)
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)  # the default would look for Prism, a Go binary
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)  # a killed process would leave Beam's folder behind
        with _interrupts_kept(), temporary_folder() as temporary:
            pipeline.local_tempdir = str(temporary)
            with pipeline:
                add_graph(pipeline)


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Raises an interrupt in a worker thread as the interrupt itself.

    Beam logs every exception of a worker with its traceback, also an interrupt, and raises a RuntimeError instead.
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
