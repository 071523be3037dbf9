"""The `.keras` file of a model: a zip archive of two texts and an HDF5 file with the weights.

Keras writes the file, but this module reads it, because the file may come from an untrusted source. It compares the
content with the model's settings first, and then reads only the arrays of this model, without following links.
"""

import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError, model_validator

from elboflow.artifacts.manifest import unreadable
from elboflow.artifacts.spec import FeatureSpec
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import Settings, WorkError
from elboflow.settings.terminal import one_line
from elboflow.vae import hdf5, image_models
from elboflow.vae.model import Model, ModelConfig
from elboflow.vae.terms import Specs

if TYPE_CHECKING:
    import h5py

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
CLASS = "elboflow>VAE"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store
_TEXT = 2**20  # the most bytes of a text in the archive; this project writes hundreds
_HEADERS = 2**20  # the most bytes of an HDF5 file besides the arrays and their headers
_HEADER = 2**13  # the most bytes of an array's header
_MOST_WEIGHTS = 10_000  # the most arrays of a model that is not built
_SHOWN = 200  # characters of another library's error
# Errors that zipfile raises for damaged files.
_DAMAGE = (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, struct.error)


class ConfigFacts(Settings):
    """The result of `elboflow.vae.container.Container.get_config`."""

    config: ModelConfig
    features: dict[str, FeatureSpec]

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, facts: Any) -> Any:
        return image_models.described(facts) if isinstance(facts, dict) and "spec" in facts else facts


def write(model: Model) -> bytes:
    """Returns the `.keras` file of a model, without times and layer names: equal weights give equal bytes.

    Raises:
        WorkError: A weight is not finite.
    """
    from elboflow.vae.container import contained

    with temporary_folder() as temporary:
        path = temporary / "model.keras"
        contained(model).save(path)
        with zipfile.ZipFile(path) as saved:
            parts = {name: saved.read(name) for name in sorted(saved.namelist())}
    metadata = json.loads(parts[METADATA])
    del metadata["date_saved"]
    parts[METADATA] = json.dumps(metadata).encode()
    parts[WEIGHTS] = hdf5.without_names(parts[WEIGHTS])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return file.getvalue()


def facts(config: Any, place: object) -> tuple[ModelConfig, Specs]:
    """Returns the settings and the features of a model.

    Args:
        config: The `config` in `config.json`, from a container.
        place: The file, for errors.

    Raises:
        WorkError: This version cannot build such a model.
    """
    try:
        found = ConfigFacts.model_validate(config)
    except (ValidationError, KeyError, TypeError, RecursionError) as error:
        raise unreadable(place, error, ConfigFacts) from None
    return found.config, found.features


def described(path: Path) -> tuple[ModelConfig, Specs]:
    """Returns the settings and the features of the model in a file.

    Raises:
        WorkError: The file contains no model of this project, or one that this version cannot build.
    """
    with _opened(path) as archive:
        return facts(_config(archive, path), path)


def check_config(path: Path, config: ModelConfig, specs: Specs) -> None:
    """Checks that a file describes the expected model, without importing Keras.

    Args:
        path: The file.
        config: The settings of the expected model.
        specs: The specs of the features that the model reads.

    Raises:
        WorkError: It describes another model, or is damaged.
    """
    _check_same(described(path), (config, specs), path)


def weights(path: Path, config: ModelConfig, specs: Specs) -> dict[str, np.ndarray]:
    """Returns the weights in a file, float32, by their paths (`elboflow.vae.container.places`).

    Args:
        path: The file.
        config: The settings of the expected model.
        specs: The specs of the features that the model reads.

    Raises:
        WorkError: The file contains another model or is damaged, or a weight is not finite.
    """
    from elboflow.vae.container import places

    expected = places(config, specs)
    numbers = sum(math.prod(shape) for shape in expected.values())
    with _weights_file(path, config, specs, numbers, len(expected)) as file:
        return {place: hdf5.array(file, place, shape) for place, shape in expected.items()}


def check(path: Path, config: ModelConfig, specs: Specs, numbers: int) -> None:
    """Checks that a file contains the weights of a model, without importing Keras.

    Args:
        path: The file.
        config: The settings of the expected model.
        specs: The specs of the features that the model reads.
        numbers: The number of parameters of the model.

    Raises:
        WorkError: The file contains another model or is damaged, or a weight is not finite.
    """
    with _weights_file(path, config, specs, numbers, _MOST_WEIGHTS) as file:
        shapes: dict[str, tuple[int, ...]] = {}
        file.visititems(lambda place, found: shapes.update({place: found.shape} if hasattr(found, "shape") else {}))
        if (found := sum(math.prod(shape) for shape in shapes.values())) != numbers:
            raise WorkError(f"{WEIGHTS} holds {found:,} numbers; this model has {numbers:,} weights")
        for place, shape in shapes.items():
            hdf5.array(file, place, shape)


@contextmanager
def _weights_file(path: Path, config: ModelConfig, specs: Specs, numbers: int, arrays: int) -> "Iterator[h5py.File]":
    """Opens the HDF5 file of a model with `numbers` parameters in at most `arrays` arrays.

    Raises:
        WorkError: The file contains another model, or the body of the `with` statement fails.
    """
    import h5py

    least, most = 4 * numbers, 4 * numbers + _HEADERS + _HEADER * arrays
    if (size := path.stat().st_size) > most + 3 * _TEXT:
        raise WorkError(
            f"{path} cannot be used: it has {size:,} bytes, too many for the {numbers:,} weights of this model"
        )
    with _opened(path) as archive:
        stated = _config(archive, path)
        size = archive.getinfo(WEIGHTS).file_size
        if not least <= size <= most:
            raise WorkError(
                f"{path} cannot be used: {WEIGHTS} has {size:,} bytes; {least:,} to {most:,} are expected for the "
                f"{numbers:,} weights of this model"
            )
        _check_same(facts(stated, path), (config, specs), path)
        content = _member(archive, WEIGHTS, path)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            yield file
    except WorkError as error:
        raise WorkError(f"{path} cannot be used: {error}") from None
    except Exception as error:  # for damaged files h5py raises nearly any exception
        said = one_line(str(error)[:_SHOWN])
        raise WorkError(f"{path} cannot be used: {WEIGHTS} is no HDF5 file ({said})") from None


def _check_same(found: tuple[ModelConfig, Specs], expected: tuple[ModelConfig, Specs], path: Path) -> None:
    """Checks that a file describes the expected model. Of features, only shape and levels count, as in older files.

    Raises:
        WorkError: It describes another one.
    """
    (config, specs), (wanted, features) = found, expected
    told = [{name: (spec.shape, spec.levels) for name, spec in those.items()} for those in (specs, features)]
    if config != wanted or told[0] != told[1]:
        raise WorkError(f"{path} cannot be used: its {CONFIG} describes another model than it should hold")


def _opened(path: Path) -> zipfile.ZipFile:
    """Opens the archive, and checks that its members are uncompressed, so that none is larger than the file."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise WorkError(f"{path} cannot be used: it is no .keras file ({one_line(str(error)[:_SHOWN])})") from None
    members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != [CONFIG, METADATA, WEIGHTS]:
        listed = ", ".join(map(ascii, names[:5])) + (", …" if len(names) > 5 else "")
        archive.close()
        raise WorkError(
            f"{path} cannot be used: it holds {listed or 'nothing'}; a model holds {CONFIG}, {METADATA}, {WEIGHTS}"
        )
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            archive.close()
            raise WorkError(f"{path} cannot be used: {member.filename} is compressed; a model's weights are not")
        if member.filename != WEIGHTS and member.file_size > _TEXT:
            archive.close()
            raise WorkError(
                f"{path} cannot be used: {member.filename} has {member.file_size:,} bytes; {_TEXT:,} are allowed"
            )
    return archive


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        return archive.read(name)
    except _DAMAGE as error:
        raise WorkError(f"{path} cannot be used: {name} is damaged ({one_line(str(error)[:_SHOWN])})") from None


def _config(archive: zipfile.ZipFile, path: Path) -> Any:
    """Returns the `config` in `config.json`, after a check that it belongs to a model of this project."""
    try:
        found = json.loads(_member(archive, CONFIG, path))
    except (ValueError, RecursionError):
        raise WorkError(f"{path} cannot be used: {CONFIG} is not JSON") from None
    name = found.get("registered_name") if isinstance(found, dict) else None
    if name != CLASS:
        raise WorkError(f"{path} cannot be used: it holds a model of the class {ascii(name)[:60]}, not {CLASS!r}")
    return found.get("config")
