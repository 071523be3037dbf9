"""pythae's own virtual environment: it wants PyTorch, which the product need not have."""

import subprocess
import sys

from benchmarks.training.race import ROOT

PINS = ("torch==2.13.0", "pythae==0.1.2")
FOLDER = ROOT / "build" / "pythae"


def python() -> str:
    """Returns the interpreter of the environment, which is made where it is not there yet (a minute or two).

    Raises:
        RuntimeError: pip cannot install it.
    """
    interpreter, made = FOLDER / "bin" / "python", FOLDER / ".installed"
    if not made.exists() or made.read_text(encoding="utf-8") != _content():
        print(f"installing {' and '.join(PINS)} into {FOLDER.relative_to(ROOT)}", flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
        _run(str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS)
        made.write_text(_content(), encoding="utf-8")
    return str(interpreter)


def _content() -> str:
    return "\n".join((sys.version, *PINS))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
