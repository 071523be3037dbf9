"""Raw images of any type of number become the same codes."""

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from preprocessing.features import _image_values as images


def spec(low: float, high: float, channels: int = 1) -> FeatureSpec:
    return FeatureSpec(kind="image", dtype="uint8", shape=(2, 2, channels), levels=256, facts={"range": [low, high]})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["?", "f2", ">f2", "u1", "i8", ">u8", "f8", "longdouble"])
@pytest.mark.parametrize(("range", "code"), [((0, 70000), 0), ((-1, 1), 255), ((0, 1), 255), ((0, 2**64), 0)])
def test_raw_images_of_any_type_have_the_codes_of_their_values(
    dtype: str, range: tuple[float, float], code: int
) -> None:
    for raw in (np.ones((3, 2, 2, 1), dtype), np.ones((3, 2, 2), dtype), np.ones((3, 2, 2), dtype).tolist()):
        assert (images.codes(raw, spec(*range)) == np.full((3, 2, 2, 1), code)).all()


def test_colours_are_never_taken_for_images_without_channels() -> None:
    with pytest.raises(RequestError, match=r"of shape \[images, 2, 2, 3\]; found \[3, 2, 2\]"):
        images.codes(np.ones((3, 2, 2)), spec(0, 1, channels=3))


def test_images_in_the_cells_of_a_table_are_images() -> None:
    cells = np.empty(3, object)
    cells[:] = list(np.ones((3, 2, 2, 1)))
    for raw in (cells, np.array([cell.tolist() for cell in cells], object)):
        assert (images.codes(raw, spec(0, 1)) == 255).all()
    cells[1] = np.ones((2, 1))
    with pytest.raises(RequestError, match="found lists of different lengths"):
        images.codes(cells, spec(0, 1))
