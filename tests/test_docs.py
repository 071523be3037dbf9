"""The pages of docs/: what is generated in them is whole, and no link of them or of the README leads nowhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from elboflow.settings import table
from elboflow.settings.layout import every_choice
from elboflow.settings.variables import VARIABLES
from pipelines.experiment import Experiment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))  # where the pages' build has it
import reference  # noqa: E402  # of docs/, which is no package

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "infra/README.md")),
    *sorted(DOCS.rglob("*.md")),
]


def test_the_reference_names_every_section_and_every_kind_of_every_choice():
    page = reference.filled((DOCS / "configuration.md").read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^### `(.*)`$", page)
    assert headings == [*Experiment.model_fields]
    for base in every_choice(Experiment):
        for kind in table.names(base):
            assert re.search(rf"(?m)^  {kind} ", page), f"{kind} of {base.group}"


def test_the_page_on_operations_names_every_variable():
    page = reference.filled((DOCS / "operations.md").read_text(encoding="utf-8"))
    assert [name for name in VARIABLES if f"| `{name}` | " not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_exist(page: Path):
    text = prose(page)
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        address, _, heading = "".join(link).partition("#")
        if "://" in address:
            continue
        found = page.parent / address if address else page
        assert found.is_file(), f"{page.name}: {address}"
        assert not heading or heading in anchors(found), f"{page.name}: {address}#{heading}"


def test_every_page_is_in_the_contents():
    listed = [page for chapter in reference.CONTENTS.values() for page in chapter]
    assert sorted(["index", *listed]) == sorted(path.stem for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("room", ["pipelines", "components", "elboflow.vae"])
def test_the_page_on_architecture_names_the_layers_of_a_room_in_the_order_that_is_checked(room: str):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [each["layers"] for each in contracts if each.get("containers") == [room]]
    depth = {name: i for i, layer in enumerate(layers) for name in layer.split(" | ")}
    (row,) = re.findall(rf"(?m)^\| `{room}` \| (.*) \|$", (DOCS / "architecture.md").read_text(encoding="utf-8"))
    named = re.findall(r"`(\w+)`", row)
    assert [depth[name] for name in named] == sorted(depth[name] for name in named)
    if room != "elboflow.vae":  # whose page leaves out what is small
        assert {*named, "__main__"} == {*depth, "__main__"}


@pytest.mark.slow
def test_a_dead_link_fails_the_build(tmp_path: Path):
    pytest.importorskip("sphinx", reason="sphinx is not installed: make setup-docs")
    pytest.importorskip("furo", reason="furo is not installed: make setup-docs")
    (tmp_path / "index.md").write_text("# One\n\n[here](#one), [elsewhere](#two)\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--conf-dir", DOCS]
    built = subprocess.run([*command, tmp_path, tmp_path / "built"], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert built.returncode != 0
    assert "two" in built.stderr
    assert "one" not in built.stderr


def prose(page: Path) -> str:
    """Returns a page without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Returns the names by which a Git host knows the headings of a page, those that are generated included."""
    headings = re.findall(r"(?m)^#+ (.*)$", reference.filled(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
