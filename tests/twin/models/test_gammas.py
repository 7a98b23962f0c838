"""Gamma distributions that are looked up are those of the library."""

import numpy as np
import pytest
from scipy.special import gammaincinv

from aigrid.twin.models.gammas import PARTS, gamma_row, gamma_table


@pytest.mark.parametrize("shape", [0.03, 0.4, 1.0, 2.7, 50.0, 3e4])
def test_quantiles_are_within_a_percent_of_the_mean(shape: float) -> None:
    mean, found = 0.2, np.zeros(len(PARTS))
    gamma_row(gamma_table(), mean, mean * mean * (1.0 + 1.0 / shape), found)
    true = mean * gammaincinv(shape, PARTS) / shape
    inner = PARTS < 0.9999
    assert found[inner] == pytest.approx(true[inner], rel=0.01, abs=0.01 * mean)
    assert (np.diff(found) >= 0.0).all()
