"""docs/notebook.ipynb runs from its first cell to its last, and shows what it makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

RUN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shown = []
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        done = shell.run_cell("".join(cell["source"]), store_history=True)
        done.raise_error()
        html = getattr(done.result, "_repr_html_", None)
        shown.append(html() if html else None)
print(json.dumps(shown))
"""


def test_no_output_is_stored_in_the_notebook():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_the_notebook_runs_and_shows_dataset_model_evaluation_and_comparison(tmp_path: Path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "SOME_TOKEN": "scikit-learn"}
    command = [sys.executable, "-c", RUN, str(NOTEBOOK)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    shown = [html for html in json.loads(done.stdout.splitlines()[-1]) if html is not None]
    titles = ("Dataset ", "Model of image", "Evaluation on 171 test examples", "Newcomer minus champion")
    assert [title for title, html in zip(titles, shown, strict=True) if title not in html] == []
    assert 'src="data:image/png;base64,' in shown[2]
    assert not [html for html in shown if "http" in html or "<script" in html]
    assert "from ***" in shown[0], "the value of $SOME_TOKEN, which is masked"
