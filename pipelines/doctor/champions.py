"""Champions of the workspace's registry: whether `generate` and the next registration can use them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.registry import versions
from components.registry.promotion import CHAMPION
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder, keras_file
from pipelines.doctor import PATIENCE, Finding

_QUERY = """
SELECT aliases.name, aliases.version, versions.storage_location FROM registered_model_aliases AS aliases
JOIN model_versions AS versions ON versions.name = aliases.name AND versions.version = aliases.version
WHERE aliases.alias = ? ORDER BY aliases.name
"""


def unusable(database: Path) -> Iterator[Finding]:
    """Yields what is wrong with champions: files that are absent or damaged, or of a format of another version.

    Args:
        database: MLflow's SQLite file.
    """
    for name, version, location in _champions(database):
        uri = f"models:/{name}/{version}"
        try:
            champion = folder.load(versions.model_folder_in(Path(unquote(urlsplit(location).path)), uri))
            keras_file.check(champion.path / folder.MODEL, champion.config, champion.specs, champion.parameters)
        except (RequestError, WorkError) as error:
            mend = (
                f"restore its files, use the version of ELBOflow that wrote it, or set the alias {CHAMPION!r} to "
                "another version in the MLflow UI: no newcomer can be compared with it"
            )
            yield Finding(f"champion {uri}", "ill", f"cannot be used: {error}", mend)


def _champions(database: Path) -> list[tuple[str, int, str]]:
    """Returns the name, the version and the place of the files of each champion whose files are here."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        found = connection.execute(_QUERY, (CHAMPION,)).fetchall()
    return [each for each in found if str(each[2]).startswith("file:///")]
