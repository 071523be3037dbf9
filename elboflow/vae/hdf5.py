"""The HDF5 file with the weights of a model: written without layer names, and read without following links."""

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from elboflow.settings import WorkError

if TYPE_CHECKING:
    import h5py


def array(file: "h5py.File", place: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a float32 array whose values are all stored in the HDF5 file itself.

    Args:
        file: The file.
        place: The path of the array in the file.
        shape: The expected shape.

    Raises:
        WorkError: The array is missing, behind a link, of another shape or dtype, stored in another file, compressed,
            or not finite.
    """
    import h5py

    here: Any = file
    for part in place.split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            raise WorkError(f"the weight {place} is missing")
        if not isinstance(link, h5py.HardLink):
            raise WorkError(f"the weight {place} is behind a link, which is not followed")
        here = here[part]
    if not isinstance(here, h5py.Dataset):
        raise WorkError(f"the weight {place} is missing")
    if here.shape != shape or here.dtype != np.dtype("<f4"):
        raise WorkError(
            f"the weight {place} has the shape {list(here.shape or ())} and the type {here.dtype}; this model's has "
            f"{list(shape)} and float32"
        )
    layout = here.id.get_create_plist()
    numbers = 4 * math.prod(shape)
    if (
        layout.get_layout() != h5py.h5d.CONTIGUOUS
        or layout.get_external_count()
        or here.id.get_storage_size() != numbers
    ):
        raise WorkError(f"the weight {place} is not stored in the file itself, as it is")
    values: np.ndarray = here[()]
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise WorkError(f"the weight {place} is not finite in {bad:,} of {values.size:,} numbers")
    return values


def without_names(weights: bytes) -> bytes:
    """Returns an HDF5 file without layer names, so that equal weights give equal files.

    Keras numbers layer names by the layers that the process has created before. It reads weights by path, and writes
    the names for humans only.

    Raises:
        WorkError: A weight is not finite.
    """
    import h5py

    file = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as named, h5py.File(file, "w") as nameless:

        def copy(place: str, found: h5py.Group | h5py.Dataset) -> None:
            if isinstance(found, h5py.Group):
                copied = nameless.require_group(place)
            else:
                values = found[()]
                if not np.isfinite(values).all():
                    raise WorkError(f"the model is not saved: its weight {place} is not finite")
                copied = nameless.create_dataset(place, data=values)
            for attribute in sorted(found.attrs.keys() - {"name"}):
                copied.attrs[attribute] = found.attrs[attribute]

        named.visititems(copy)
    return file.getvalue()
