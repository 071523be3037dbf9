"""The benchmark of promotions reaches its targets with a tenth of the trials."""

from multiprocessing.pool import ThreadPool

import pytest

from benchmarks.promotion.__main__ import gains, sizes


@pytest.mark.slow
def test_error_rates_and_waits_for_a_gain_reach_their_targets():
    with ThreadPool(1) as pool:
        figures = [*sizes(1000, pool), *gains(100, pool)]
    with_a_target = [figure for figure in figures if figure.target is not None]
    assert len(with_a_target) == 12
    assert [(figure.name, figure.value) for figure in with_a_target if not figure.met] == []
