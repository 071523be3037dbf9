"""Takes the screenshots of MLflow's pages for the documentation: `make screenshots`, with Debian's Chromium.

Two runs of the digits make an MLflow; the second trains for long enough to have pictures by epoch.
"""

import io
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from elboflow.testing.platforms.wire import free_port, wait_for
from tests.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

_ELBOFLOW = [sys.executable, "-m", "pipelines"]
_LONG = ("training.epochs=6000", "training.early_stopping=null", "training.learning_rate.initial=0.0005")
_HERE = Path(__file__).parent
_COLOURS = 64  # of a palette: each file stays below 150 kB


def main() -> None:
    """Makes the runs, serves them, and replaces the pictures in docs/."""
    if chromium.program() is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        for settings in (("training.epochs=5",), _LONG):
            changes = [word for setting in settings for word in ("--set", setting)]
            words = [*_ELBOFLOW, "run", "digits", "--workspace", folder, *changes]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        server = subprocess.Popen([*_ELBOFLOW, "ui", "--workspace", folder, "--port", str(port)])
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: server.poll() is not None or _answers(address), 120)
            with chromium.opened(height=800) as page:
                _take(page, f"{address}/#")
        finally:
            server.terminate()
            server.wait(timeout=60)


def _take(page: "Page", address: str) -> None:
    page.goto(f"{address}/experiments/1/runs?workflowType=machine_learning")
    page.get_by_role("link", name=re.compile(r"^digits-\d{4}")).first.click()  # the latest
    page.get_by_text("Show more").first.click()
    _save(page, "mlflow-run")
    run = page.url
    page.get_by_text("digits-train").first.click()
    page.get_by_text("mean 4.873").wait_for()
    _save(page, "mlflow-dataset")
    page.goto(f"{run}/model-metrics")
    chromium.full_screen(page, "validation/reconstructions")
    chromium.slide(page, 3)
    page.get_by_role("dialog").locator("img").scroll_into_view_if_needed()
    _save(page, "mlflow-pictures")
    page.goto(f"{address}/models/digits-vae/versions/2")
    page.get_by_text("Architecture").wait_for()
    _save(page, "mlflow-version")


def _save(page: "Page", name: str) -> None:
    page.wait_for_timeout(2000)  # until what the page draws stands still
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS)
    image.save(_HERE / f"{name}.png", optimize=True)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
