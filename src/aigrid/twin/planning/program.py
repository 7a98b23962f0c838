"""A linear or mixed-integer program, built row by row and solved by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Program:
    """Minimises a linear cost; columns and rows are numbered as they are added."""

    def __init__(self) -> None:
        self.columns = 0
        self._cost: list[Floats] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._whole: list[NDArray[np.bool_]] = []
        self._start: list[int] = [0]
        self._index: list[int] = []
        self._value: list[float] = []
        self._row_low: list[float] = []
        self._row_high: list[float] = []

    def add(
        self, cost: Floats | list[float], low: float, high: Floats | float, *, whole: bool = False
    ) -> Ints:
        """Columns with these costs and limits; their numbers."""
        each = np.asarray(cost, np.float64)
        count = len(each)
        self._cost.append(each)
        self._low.append(np.full(count, low))
        self._high.append(np.broadcast_to(np.asarray(high, np.float64), (count,)).copy())
        self._whole.append(np.full(count, whole))
        first, self.columns = self.columns, self.columns + count
        return np.arange(first, self.columns)

    def row(
        self, columns: Sequence[int], factors: Sequence[float], low: float, high: float
    ) -> None:
        """Low <= sum of factors times columns <= high."""
        self._index.extend(columns)
        self._value.extend(factors)
        self._start.append(len(self._index))
        self._row_low.append(low)
        self._row_high.append(high)

    def solve(
        self,
        limit_s: float,
        gap: float,
        *,
        relaxed: bool = False,
        start: dict[int, float] | None = None,
    ) -> tuple[Floats | None, float]:
        """Values of the columns and a bound on the cost.

        Args:
            limit_s: seconds.
            gap: relative, at which it is done.
            relaxed: whole numbers may be broken.
            start: values of some columns, those of a plan that is known.

        Returns:
            None where there is no solution, with a bound of infinity, or NaN where none was found
            in time.
        """
        import highspy

        # The class under `highspy.Highs`, which prints a banner on stdout before it can be told
        # not to.
        highs = highspy._core._Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("time_limit", limit_s)
        highs.setOptionValue("mip_rel_gap", gap)
        # One thread and a fixed seed: the same plan each time, unless the limit ends it.
        highs.setOptionValue("threads", 1)
        highs.setOptionValue("random_seed", 0)
        highs.passModel(self._lp(highspy, relaxed))
        if start:
            columns = np.array(list(start), np.int32)
            highs.setSolution(len(start), columns, np.array(list(start.values())))
        highs.run()
        status, info = highs.getModelStatus(), highs.getInfo()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None, math.inf
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None, math.nan
        whole = not relaxed and any(part.any() for part in self._whole)
        bound = info.mip_dual_bound if whole else info.objective_function_value
        if not whole and status != highspy.HighsModelStatus.kOptimal:
            bound = -math.inf
        return np.array(highs.getSolution().col_value), float(bound)

    def _lp(self, highspy, relaxed: bool):  # type: ignore[no-untyped-def]
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.columns, len(self._row_low)
        lp.col_cost_ = np.concatenate(self._cost)
        lp.col_lower_ = np.concatenate(self._low)
        lp.col_upper_ = np.concatenate(self._high)
        lp.row_lower_ = np.array(self._row_low)
        lp.row_upper_ = np.array(self._row_high)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(self._start)
        lp.a_matrix_.index_ = np.array(self._index)
        lp.a_matrix_.value_ = np.array(self._value)
        if not relaxed:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[int(w)] for w in np.concatenate(self._whole)]
        return lp
