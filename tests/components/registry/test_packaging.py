"""What a registered model carries and requires, so that it can be served where this project is not installed."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pytest

from components.registry.packaging import carried
from elboflow.artifacts import child
from elboflow.testing.platforms.wire import free_port, wait_for
from tests.components.runs import Champion, Run
from tests.opened import examples

OWN = ("elboflow", "preprocessing", "components")
KINDS = ("likelihoods", "networks", "objectives", "posteriors", "priors", "families")

ANSWERS = """
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
raw = np.load(sys.argv[2])
found = {task: model.predict(raw, params={"task": task, "samples": 5}) for task in ("reconstruct", "encode", "score")}
found["decode"] = model.predict(found["encode"], params={"task": "decode"})
found["generate"] = model.predict([], params={"task": "generate", "count": 3})
np.savez(sys.argv[3], **found)
import elboflow
print(elboflow.__file__)
"""


def test_a_model_carries_all_that_prediction_imports_of_this_project_and_requires_the_rest(tmp_path: Path) -> None:
    carried(tmp_path)
    has = {".".join(file.relative_to(tmp_path).with_suffix("").parts) for file in tmp_path.rglob("*.py")}
    has = {name.removesuffix(".__init__") for name in has}
    graph = grimp.build_graph(*OWN, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)
    kinds = {name for name in graph.modules if name.startswith(tuple(f"elboflow.vae.{kind}." for kind in KINDS))}
    features = {name for name in graph.modules if name.startswith("preprocessing.features.")}
    backends = {name for name in graph.modules if name.startswith("elboflow.vae.compute.")}
    imported: set[str] = set()
    for start in {"components.registry.predictor"} | kinds | features | backends:
        imported |= {start} | graph.find_upstream_modules(start)
    own = {name for name in imported if name.partition(".")[0] in OWN}
    assert len(own) > 80
    assert own - has == set()
    others = imported - own - sys.stdlib_module_names
    # mlflow-skinny requires PyYAML; the other two are imported where a dataset is made or read.
    known = {"h5py", "keras", "numpy", "pydantic", "pydantic_core", "jax", "tensorflow", "torch"}
    assert others - known <= {"yaml", "pyarrow", "google_crc32c"}


@pytest.mark.xdist_group("tensorflow")
def test_a_model_requires_its_backend_and_what_prediction_imports_and_not_this_project(champion: Champion) -> None:
    names = [
        line.partition("==")[0] for line in (champion.files / "requirements.txt").read_text(encoding="utf-8").split()
    ]
    backend = [name for name in names if name.startswith("tensorflow")]
    assert sorted({*names} - {*backend}) == ["h5py", "keras", "mlflow-skinny", "numpy", "pandas", "pydantic"]
    assert len(backend) == 1
    assert not [path for path in (champion.files / "code").rglob("*") if path.suffix not in ("", ".py")]


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
def test_a_fresh_environment_serves_the_registered_model_with_the_same_answers(
    champion: Champion, trained: Run, fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "preprocessing").mkdir()  # the folder where somebody works has a package of a carried name
    (tmp_path / "preprocessing/__init__.py").write_text("raise ImportError('not this one')\n", encoding="utf-8")
    np.save(tmp_path / "raw.npy", examples(trained.dataset, "test").features["image"][:5].astype(np.float32))

    def answers(python: Path, **variables: str) -> tuple[Path, Any]:
        output = tmp_path / f"{python.parent.parent.name}.npz"
        command = [str(python), "-c", ANSWERS, str(champion.files), str(tmp_path / "raw.npy"), str(output)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
        done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.splitlines()[-1]), np.load(output)

    code, found = answers(fresh)
    assert code.is_relative_to(champion.files)
    installed, expected = answers(Path(sys.executable), PYTHONSAFEPATH="1")
    assert not installed.is_relative_to(champion.files)
    assert len(expected.files) == 5
    for task in expected.files:
        np.testing.assert_allclose(found[task], expected[task], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
def test_mlflow_serves_the_registered_model_from_a_fresh_environment(
    champion: Champion, trained: Run, fresh: Path, tmp_path: Path
) -> None:
    import mlflow

    images = examples(trained.dataset, "test").features["image"][:3].astype(np.float32)
    params = {"task": "score", "samples": 5}
    port = free_port()
    serve = [str(fresh), "-m", "mlflow", "models", "serve", "--model-uri", str(champion.files)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{fresh.parent}{os.pathsep}{environment['PATH']}"
    log = tmp_path / "log.txt"
    with log.open("w") as writes:
        server = subprocess.Popen(
            [*serve, "--env-manager", "local", "--port", str(port)],
            cwd=tmp_path, env=environment, stdout=writes, stderr=writes, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: server.poll() is not None or answers(port, "ping") is not None, 120)
        assert server.poll() is None, log.read_text(encoding="utf-8")
        asked = json.dumps({"inputs": images.tolist(), "params": params}).encode()
        found = json.loads(answers(port, "invocations", asked) or b"{}")
    finally:
        child.end_group(server, 30)
    expected = mlflow.pyfunc.load_model(str(champion.files)).predict(images, params=params)
    np.testing.assert_allclose(found["predictions"], expected, rtol=1e-5, atol=1e-5)


def answers(port: int, path: str, body: bytes | None = None) -> bytes | None:
    """Returns the body of a response of a local server; None if the request fails."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            content: bytes = answer.read()
    except OSError:
        return None
    return content


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
def test_a_process_that_has_another_package_of_a_carried_name_is_told(
    champion: Champion, fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "preprocessing.py").write_text("", encoding="utf-8")
    program = f"import preprocessing, mlflow; mlflow.pyfunc.load_model({str(champion.files)!r})"
    done = subprocess.run([str(fresh), "-c", program], capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert "this process has imported another package 'preprocessing'" in done.stderr


@pytest.fixture(scope="session")
def fresh(champion: Champion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of a new environment with the model's requirements and nothing else."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    folder = tmp_path_factory.mktemp("fresh")
    python = folder / "bin/python"
    requirements = ["-r", str(champion.files / "requirements.txt")]
    if uv is None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", *requirements]
    else:
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "-q", "--python", str(python), *requirements]
    installed = subprocess.run(install, capture_output=True, encoding="utf-8")
    if installed.returncode:
        pytest.skip(f"no index has the requirements of a model: {installed.stderr[-300:]}")
    yield python
    shutil.rmtree(folder)  # 1.6 GB
