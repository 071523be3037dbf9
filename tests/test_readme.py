"""What the README says to type, typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = re.compile(r"```python\n(from components\.train import train\n.*?)```", re.DOTALL)


@pytest.mark.xdist_group("tensorflow")
def test_the_lines_for_a_notebook_work_beside_modules_of_the_user_s_own(tmp_path: Path) -> None:
    """Names as common as these must not be taken for ours, nor ours for them."""
    for name in ("settings", "artifacts", "vae", "data", "config", "model", "training", "evaluation", "utils"):
        (tmp_path / f"{name}.py").write_text(f"raise AssertionError('this is the user's own {name}.py')\n", "utf-8")
    (lines,) = NOTEBOOK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    preprocessed = (
        "from components.preprocess import preprocess\n"
        "from pipelines.experiment import load\n"
        "preprocess(load('digits', []).data, 'dataset')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])  # a notebook's folder comes first
    done = subprocess.run(
        [sys.executable, "-c", preprocessed + lines.replace("epochs=5", "epochs=1")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/model.json").exists()
