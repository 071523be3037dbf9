"""How `make docs` builds these pages: MyST's Markdown, Sphinx, furo. Each warning is an error there, dead links too."""

import json
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))
import reference

import elboflow

project = "ELBOflow"
release = version = elboflow.__version__
copyright = "the authors of ELBOflow, Apache License 2.0"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"ELBOflow {release}"
myst_heading_anchors = 4  # links to headings, as Git hosts make them
linkcheck_timeout = 20
linkcheck_ignore = [r"http://localhost.*", r"https://.*\.example\.com.*"]


def setup(app: Sphinx) -> None:
    """Fills in what is generated from the code; puts the JSON schema of experiments beside the pages."""

    def fill(app: Sphinx, page: str, source: list[str]) -> None:
        source[0] = reference.filled(source[0])

    def add_schema(app: Sphinx, error: Exception | None) -> None:
        if error is None:
            schema = json.dumps(reference.schema(), indent=2, ensure_ascii=False)
            (Path(app.outdir) / "experiment.schema.json").write_text(schema, encoding="utf-8")

    app.connect("source-read", fill)
    app.connect("build-finished", add_schema)
