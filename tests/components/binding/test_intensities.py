"""Raw images of any type of number become the same codes."""

import numpy as np
import pytest

from components.binding import intensities
from elboflow.settings import RequestError
from elboflow.vae.data import ImageSpec

SPEC = ImageSpec((2, 2, 1), 256)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["?", "f2", ">f2", "u1", "i8", ">u8", "f8", "longdouble"])
@pytest.mark.parametrize(("range", "code"), [((0, 70000), 0), ((-1, 1), 255), ((0, 1), 255), ((0, 2**64), 0)])
def test_raw_images_of_any_type_have_the_codes_of_their_values(
    dtype: str, range: tuple[float, float], code: int
) -> None:
    for raw in (np.ones((3, 2, 2, 1), dtype), np.ones((3, 2, 2), dtype), np.ones((3, 2, 2), dtype).tolist()):
        assert (intensities.codes(raw, range, SPEC) == np.full((3, 2, 2, 1), code)).all()


def test_colours_are_never_taken_for_images_without_channels() -> None:
    with pytest.raises(RequestError, match=r"of shape \[images, 2, 2, 3\]; found \[3, 2, 2\]"):
        intensities.codes(np.ones((3, 2, 2)), (0, 1), ImageSpec((2, 2, 3), 256))
