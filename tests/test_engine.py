"""Records of settings: what they take, and what goes together with them."""

import numpy as np
import pytest

from csc_cogd import Engine, InputError, Solve, Tiling, inpaint, sparse_code


def test_records_take_numbers_out_of_arrays_without_axes():
    solve = Solve(lmbda=np.array(0.5), max_iter=np.array(3))
    assert (solve, type(solve.lmbda), type(solve.max_iter)) == (Solve(lmbda=0.5, max_iter=3), float, int)
    assert Tiling(max_memory=np.array(1e9)) == Tiling(max_memory=1e9)
    assert Engine(dtype=np.float64, threads=np.array(2)).threads == 2


def test_a_setting_is_given_by_itself_or_in_a_record():
    image = np.where(np.eye(16) > 0, np.nan, 1.0)
    with pytest.raises(InputError, match="max_iter was given twice, by itself and in the Solve: choose one"):
        inpaint(image, solve=Solve(), max_iter=3)
    with pytest.raises(InputError, match="threads was given twice, by itself and in the Engine: choose one"):
        sparse_code(np.ones((1, 8, 8)), None, lmbda=0.1, engine=Engine(), threads=1)
    with pytest.raises(InputError, match="effort must be one of"):
        inpaint(image, effort="much")
