"""The gate: what is unknown does not pass."""

import math

import numpy as np
import pytest

from research.errors import GateRefused, InvalidInput
from research.validation import Check, evaluate_gate

CHECKS = [
    Check("sharpe", "oos_sharpe", ">=", 1.0, "worth its risk"),
    Check("drawdown", "max_drawdown", ">", -0.2),
    Check("ruin", "p_ruin", "<", 0.01),
    Check("trades", "trades", "<=", 500),
]
GOOD = {"oos_sharpe": 1.0, "max_drawdown": -0.1999, "p_ruin": 0.0099, "trades": 500}


def test_all_met_passes_and_tells_no_reason():
    verdict = evaluate_gate(GOOD, CHECKS)
    assert verdict.passed
    names = "check figure value low high rule threshold passed reason description"
    assert verdict.table.columns == names.split()
    assert verdict.table["reason"].to_list() == [""] * 4
    assert verdict.table["rule"].to_list() == [">= 1", "> -0.2", "< 0.01", "<= 500"]
    verdict.require("bundle a")


def test_intervals_stand_beside_their_figures_and_decide_nothing():
    wide = {"oos_sharpe": (-3.0, 5.0), "p_ruin": (math.nan, math.nan), "unasked": (0.0, 1.0)}
    verdict = evaluate_gate(GOOD, CHECKS, wide)
    assert verdict.passed
    assert verdict.table["low"].to_list() == [-3.0, None, None, None]
    assert verdict.table["high"].to_list() == [5.0, None, None, None]


@pytest.mark.parametrize(
    ("figure", "value"), [("oos_sharpe", 0.999), ("max_drawdown", -0.2), ("p_ruin", 0.01), ("trades", 501)]
)
def test_one_missed_threshold_refuses(figure, value):
    verdict = evaluate_gate(GOOD | {figure: value}, CHECKS)
    assert not verdict.passed
    failed = verdict.table.filter(~verdict.table["passed"])
    assert failed["figure"].to_list() == [figure]
    assert failed["value"].to_list() == [value]


@pytest.mark.parametrize("op", [">=", ">", "<=", "<"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "unknown"), (None, "unknown (missing or not finite)"), ("1.5", "not a number"),
        (True, "not a number"), (np.bool_(True), "not a number"), (np.array([1.0]), "not a number"),
        (np.float32("nan"), "unknown"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("threshold", [-1e9, 1e9, -math.inf, math.inf])
def test_what_is_not_a_known_number_never_passes(op, value, said, threshold):
    verdict = evaluate_gate({"x": value}, [Check("c", "x", op, threshold)])
    assert not verdict.passed
    assert said in verdict.table["reason"][0]


def test_a_missing_figure_is_refused_by_name():
    verdict = evaluate_gate({}, CHECKS[:1])
    assert verdict.table["value"].to_list() == [None]
    with pytest.raises(GateRefused, match="bundle a must pass the gate; oos_sharpe must be >= 1; it is unknown"):
        verdict.require("bundle a")


def test_numpy_numbers_and_infinities_are_numbers():
    figures = {"a": np.float64(2.0), "b": np.int64(3), "c": math.inf}
    verdict = evaluate_gate(figures, [Check(k, k, ">=", 1.0) for k in figures])
    assert verdict.table["value"].to_list() == [2.0, 3.0, math.inf]
    assert verdict.passed
    assert not evaluate_gate({"c": -math.inf}, [Check("c", "c", ">", -0.5)]).passed


@pytest.mark.parametrize(
    "call",
    [
        lambda: evaluate_gate(GOOD, []),
        lambda: evaluate_gate(GOOD, [CHECKS[0], CHECKS[0]]),
        lambda: Check("a", "a", "==", 1.0),
        lambda: Check("a", "a", ">=", math.nan),
        lambda: Check("a", "a", ">=", "1"),
        lambda: Check("a", "a", ">=", True),
    ],
)
def test_a_gate_that_cannot_refuse_is_refused(call):
    with pytest.raises(InvalidInput):
        call()
