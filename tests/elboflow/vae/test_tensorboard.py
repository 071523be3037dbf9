"""Event files, as TensorBoard reads them."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elboflow.vae.tensorboard import events

pytestmark = pytest.mark.xdist_group("tensorflow")  # TensorBoard reads through it

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def told(folder: Path, epochs: range, offset: float = 0.0) -> None:
    """What a training tells from its start, or from a checkpoint, in epochs of ten steps."""
    tell = events(folder)
    for epoch in epochs:
        tell("train", epoch, 10 * epoch, {"elbo": -epoch + offset, "loss": epoch + offset})
        tell("validation", epoch, 10 * epoch, {"elbo": -epoch + offset})
        tell("machine", epoch, 10 * epoch, {"examples_per_second": 50_000.0 + epoch})


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: Any = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_finds_all_curves_by_step(tmp_path: Path):
    told(tmp_path / "model/tensorboard", range(1, 4))
    assert read(tmp_path / "model/tensorboard") == {
        "train/elbo": [(10, -1), (20, -2), (30, -3)],
        "train/loss": [(10, 1), (20, 2), (30, 3)],
        "validation/elbo": [(10, -1), (20, -2), (30, -3)],
        "machine/examples_per_second": [(10, 50_001), (20, 50_002), (30, 50_003)],
    }


def test_a_training_that_goes_on_takes_the_place_of_the_epochs_that_it_repeats(tmp_path: Path):
    told(tmp_path, range(1, 5))
    told(tmp_path, range(3, 6), offset=0.5)
    assert read(tmp_path)["train/elbo"] == [(10, -1), (20, -2), (30, -2.5), (40, -3.5), (50, -4.5)]


def test_a_kill_in_the_middle_of_a_record_costs_no_other_one(tmp_path: Path):
    told(tmp_path, range(1, 4))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    told(tmp_path, range(3, 5))
    assert [step for step, _ in read(tmp_path)["machine/examples_per_second"]] == [10, 20, 30, 40]


def test_a_training_that_starts_over_leaves_nothing_of_the_one_before(tmp_path: Path):
    told(tmp_path, range(1, 5))
    told(tmp_path, range(1, 3), offset=0.25)
    assert read(tmp_path)["train/elbo"] == [(10, -0.75), (20, -1.75)]


def test_where_nothing_can_be_written_training_goes_on_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "tensorboard").write_text("a file in the way", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "elboflow.training"):
        told(tmp_path / "tensorboard", range(1, 4))
    (message,) = caplog.messages
    assert message.startswith("training goes on without TensorBoard's event files: ")


def test_writing_them_takes_no_framework(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from elboflow.vae.tensorboard import events; "
        "events(Path(sys.argv[1]))('train', 1, 10, {'elbo': -1.0}); "
        "print(sorted({'tensorflow', 'tensorboard', 'jax', 'torch', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout == "[]\n"
    assert read(tmp_path) == {"train/elbo": [(10, -1)]}
