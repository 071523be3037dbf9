"""Curves, and what becomes of them in MLflow."""

from components.tracking.curves import points
from elboflow.vae.curves import Curves


def test_a_training_that_goes_on_on_another_kind_of_device_keeps_its_curves():
    curves = Curves()
    for epoch, memory in [(1, {}), (2, {"device_memory_megabytes": 5.0}), (3, {})]:
        curves.add("machine", epoch=epoch, step=10 * epoch, examples_per_second=100.0 * epoch, **memory)
    assert curves.machine["device_memory_megabytes"] == [None, 5, None]
    told = [(point.key, point.value, point.step) for point in points(curves.as_json(), 0)]
    assert told == [
        ("machine/device_memory_megabytes", 5, 2),
        ("machine/examples_per_second", 100, 1),
        ("machine/examples_per_second", 200, 2),
        ("machine/examples_per_second", 300, 3),
    ]
