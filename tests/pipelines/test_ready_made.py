"""The ready-made experiments of texts and of a table run to the end as they are, by `elboflow run NAME`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

METRICS = {"log_likelihood", "elbo", "reconstruction", "kl", "active_units"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figure"), [("text", "texts.txt"), ("table", "latent_map.png")])
def test_an_experiment_of_texts_or_of_a_table_ends_with_a_champion(name: str, figure: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "run", name, "--json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert (done["mlflow"]["version"], done["mlflow"]["promoted"]) == (1, True)
    assert done["metrics"].keys() >= METRICS
    evaluation = Path(done["evaluation"])
    assert (evaluation / "report.html").is_file()
    assert (evaluation / "figures" / figure).stat().st_size > 0
