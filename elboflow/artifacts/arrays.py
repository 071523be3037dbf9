"""Arrays in an `.npz` file of an artifact: what `numpy.savez` wrote, of bounded size, and never unpickled."""

import io
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from elboflow.artifacts.reading import DamagedError
from elboflow.settings.terminal import one_line

_SUFFIX = ".npy"


def read_arrays(path: Path, most: int, only: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays by name; they may be read-only.

    Args:
        path: The file.
        most: Bytes that they may take together.
        only: Which; None: all that there are.

    Raises:
        DamagedError: It is no such file, lacks one of the arrays, or they take more room.
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist() if only is None else [name + _SUFFIX for name in only]
            size = sum(archive.getinfo(member).file_size for member in members)
            if size > most:
                raise DamagedError(path, f"its arrays take {size:,} bytes; {most:,} are expected at most")
            return {member.removesuffix(_SUFFIX): _array(archive.read(member)) for member in members}
    except DamagedError:
        raise
    except OSError:
        raise
    except Exception as error:  # over damaged bytes NumPy and zipfile raise nearly every kind
        raise DamagedError(path, one_line(f"{type(error).__name__}: {error}"[:200])) from None


def array_names(path: Path) -> list[str]:
    """Returns the names of the arrays of a file.

    Raises:
        DamagedError: It is no such file.
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [member.removesuffix(_SUFFIX) for member in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise DamagedError(path, one_line(f"{type(error).__name__}: {error}"[:200])) from None


def _array(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if dtype.itemsize * math.prod(shape) != len(content) - file.tell():
        raise ValueError(f"an array of shape {list(shape)[:8]} does not fit its {len(content) - file.tell():,} bytes")
    values = np.frombuffer(content, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if fortran_order else "C")
