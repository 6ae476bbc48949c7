"""The hole rule of funding: one function, and charging, checking and downloading all go by it."""

import inspect

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import download
from pipelines.download import Series, missing_ranges
from research.errors import FundingHole
from research.execution import funding as charging
from research.execution.funding import funding_per_bar
from research.market import quality_funding
from research.market.bars import TS
from research.market.funding_rows import JITTER_NS, NS_PER_HOUR, funding_holes, uncovered_ns
from research.market.lake import Lake
from research.market.quality_funding import check_funding

START = 1_704_067_200_000_000_000  # 2024-01-01
rows = st.lists(
    st.tuples(
        st.sampled_from([1, 4, 8, 16, 24]),
        st.sampled_from([0, 5_000_000, JITTER_NS, JITTER_NS + 1, 10 * JITTER_NS]),
        st.sampled_from([1.0, 4.0, 8.0, float("nan")]),
    ),
    min_size=1,
    max_size=12,
)


def frame(ts, hours):
    return pl.DataFrame({"ts": pl.Series(ts, dtype=pl.Int64).cast(TS), "rate": 1e-4, "interval_hours": hours})


@settings(max_examples=200)
@given(rows)
def test_a_row_is_alone_exactly_where_the_loop_says(steps):
    ts, hours = [START], [8.0]
    for apart, late, interval in steps:
        ts.append(ts[-1] + apart * NS_PER_HOUR + late)
        hours.append(interval)
    expected = [False]
    for k in range(1, len(ts)):
        expected.append(ts[k] - ts[k - 1] > hours[k] * NS_PER_HOUR + JITTER_NS)
    assert funding_holes(np.array(ts), np.array(hours)).tolist() == expected


def test_no_row_and_one_row_are_no_hole():
    assert funding_holes(np.array([], dtype=np.int64), np.array([])).tolist() == []
    assert funding_holes(np.array([START]), np.array([8.0])).tolist() == [False]
    assert np.isnan(uncovered_ns(np.array([START]), np.array([8.0]))).all()


@pytest.mark.parametrize(("late_ns", "is_hole"), [(0, False), (JITTER_NS, False), (JITTER_NS + 1, True)])
def test_charging_checking_and_downloading_agree_at_the_limit(late_ns, is_hole, tmp_path):
    hour = NS_PER_HOUR
    ts = [START, START + 8 * hour, START + 16 * hour + late_ns, START + 24 * hour + late_ns]
    funding = frame(ts, [8.0] * 4)
    lake = Lake(tmp_path)
    lake.write(funding, "bybit", "linear", "SOLUSDT", "funding")
    bars = np.arange(START, START + 24 * hour, hour)

    reported = check_funding(funding, {"jitter": "keep", "off_hour": "keep"}).report
    assert ("hole" in reported["rule"].to_list()) == is_hole
    # Two days on, so that what is asked again for its context does not reach back to the hole.
    later = frame([ts[-1] + k * 8 * hour for k in range(1, 40)], [8.0] * 39)
    lake.write(later, "bybit", "linear", "SOLUSDT", "funding")
    asked = missing_ranges(lake, Series("linear", "SOLUSDT", "funding", None), START, ts[-1] + 39 * 8 * hour + 1)
    assert ((ts[1] + 1, ts[2]) in asked) == is_hole
    if is_hole:
        with pytest.raises(FundingHole, match="must follow a row at 2024-01-01T08:01:00Z"):
            funding_per_bar(bars, hour, funding)
    else:
        assert funding_per_bar(bars, hour, funding)[1] == 3


def test_the_rule_and_its_slack_are_written_once():
    for module in (charging, quality_funding, download):
        source = inspect.getsource(module)
        assert module.funding_holes is funding_holes
        assert "NS_PER_MINUTE" not in source
