"""What a result says of ledgers made by hand: frames in words, figures, tables, files and what vectorbt can show."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pipelines.result_folder import read_result, write_result
from research.backtest.result import Result
from research.errors import InvalidInput, SchemaMismatch
from research.execution import Costs, Margin
from research.execution.records import FILLS, ROWS, Kind, Reason, Role, Status
from research.market.instruments import sample_instrument
from research.risk.exits import Exits

MINUTE = 60 * 10**9
START = 1_704_067_200 * 10**9
SPOT, PERP = sample_instrument("SOLUSDT", "spot"), sample_instrument("SOLUSDT")


@pytest.fixture(scope="module")
def random_one(by_lot):
    return by_lot(6_000, seed=2)


@pytest.fixture(scope="module")
def random_two(by_lot):
    return by_lot(6_000, seed=3, legs=2)


@pytest.fixture
def small(hand_made, deal):
    """Return ten bars: 50 long from 100, 20 taken at 104 by a resting limit, the rest stopped at 98; a short left."""
    close = [100, 101, 103, 104, 102, np.nan, 98, 97, 96, 95]
    high, low = np.add(close, 1.0), np.subtract(close, 1.0)
    deals = [
        deal(1, 50.0, 100.0, fee=2.0),
        deal(3, -20.0, 104.0, role=Role.TAKE_PROFIT, is_maker=True, fee=0.5),
        deal(6, -30.0, 98.0, role=Role.STOP, fee=1.5),
        deal(7, -10.0, 97.0, fee=0.5),
    ]
    pending = [{"order_id": 6, "lots": 100, "status": Status.PENDING, "decided_ts": START, "kind": Kind.LIMIT}]
    refused = [{"order_id": 5, "lots": 1, "status": Status.REJECTED, "reason": Reason.BELOW_MIN_QTY, "done_ts": START}]
    rows = {"ambiguous": [0, 0, 0, 7.0, 0, 0, 3.0, 0, 0, 0], "maintenance": [0, 50.0] + [0] * 8}
    return hand_made(
        close, deals, high=high, low=low, rows=rows, funding={(2, 0): -4.0}, pending=pending, more_orders=refused
    )


@pytest.fixture
def carry(hand_made, deal):
    """Return a coin bought and its perpetual sold against it, twice; the second time both are still open."""
    spot, perp = np.linspace(100, 109, 10), np.linspace(101, 109.1, 10)
    deals = [
        deal(1, 10.0, 101.0, 0, fee=1.0), deal(1, -10.0, 102.0, 1, fee=0.5),
        deal(5, -10.0, 105.0, 0, fee=1.0), deal(5, 10.0, 105.5, 1, fee=0.5),
        deal(7, 5.0, 107.0, 0), deal(7, -5.0, 107.5, 1),
    ]  # fmt: skip
    return hand_made(np.stack((spot, perp)), deals, instruments=(SPOT, PERP), funding={(3, 1): 6.0})


# ---------------------------------------------------------------- frames
def test_codes_are_words_and_legs_have_names(small):
    assert small.fills.select("leg", "role", "is_maker").rows() == [
        ("SOLUSDT", "target", False), ("SOLUSDT", "take_profit", True), ("SOLUSDT", "stop", False),
        ("SOLUSDT", "target", False),
    ]  # fmt: skip
    assert small.fills.columns == list(FILLS.names)
    orders = small.orders.select("order_id", "status", "reason", "role", "kind", "done_ts")
    assert orders.row(-1) == (6, "pending", "none", "target", "limit", None)
    assert orders.row(-2)[:3] == (5, "rejected", "below_min_qty")
    assert orders["done_ts"][0] == datetime(2024, 1, 1, 0, 1, tzinfo=UTC)


def test_every_code_has_its_word(hand_made, deal):
    kinds = [{"order_id": k, "reason": reason, "status": Status.CANCELLED} for k, reason in enumerate(Reason, start=2)]
    deals = [deal(k, 0.1, 100.0, role=role) for k, role in enumerate(Role)]
    result = hand_made([100.0] * 20, deals, more_orders=kinds)
    assert result.fills["role"].to_list() == [role.name.lower() for role in Role]
    assert set(result.orders["reason"]) == {reason.name.lower() for reason in Reason}


def test_equity_has_every_row_and_its_drawdown(small):
    assert small.equity.columns == ["ts", *ROWS.names, "drawdown"]
    equity = small.equity["equity"].to_list()
    # 10,000 less 2 of fee, +50; -4 of funding, +150; ...
    assert equity[:4] == [10_000.0, 10_048.0, 10_144.0, 10_000.0 - 2 - 4 - 0.5 + 50 * 4]
    peak = np.maximum.accumulate([10_000.0, *equity])[1:]
    assert small.equity["drawdown"].to_list() == pytest.approx((equity - peak) / peak, rel=1e-14)


def test_a_first_loss_is_below_the_cash(hand_made, deal):
    result = hand_made([90.0, 91.0], [deal(0, 10.0, 100.0)])
    assert result.equity["drawdown"].to_list() == pytest.approx([-0.01, -0.009], rel=1e-12)


def test_trades_have_role_excursions_length_and_return(small):
    first, second = small.trades.to_dicts()
    assert (first["leg"], first["exit_role"], second["exit_role"]) == ("SOLUSDT", "take_profit", "stop")
    assert (first["entry_bar"], first["exit_bar"], first["holding_ns"]) == (1, 3, 2 * MINUTE)
    # Bars 1 to 3 whole: lows from 100, highs to 105; the second trade saw the low of 97 in its exit's bar.
    assert (first["mae_frac"], first["mfe_frac"]) == pytest.approx((0.0, 0.05), abs=1e-14)
    assert (second["mae_frac"], second["mfe_frac"]) == pytest.approx((0.03, 0.05), abs=1e-14)
    assert first["pnl"] == pytest.approx(20 * 4 - 2 * 0.4 - 0.5 - 4 * 0.4, rel=1e-13)
    assert first["return_on_equity_frac"] == pytest.approx(first["pnl"] / 10_000.0, rel=1e-15)
    assert small.trades["entry_ts"].dtype == small.equity["ts"].dtype


def test_round_trips_are_whole_positions(small):
    (trip,) = small.round_trips.to_dicts()
    assert (trip["qty"], trip["reductions"], trip["exit_role"], trip["side"]) == (50.0, 2, "stop", 1)
    assert trip["pnl"] == pytest.approx(small.trades["pnl"].sum(), rel=1e-13)
    assert trip["exit_price"] == pytest.approx((20 * 104 + 30 * 98) / 50, rel=1e-14)
    assert (trip["mae_frac"], trip["mfe_frac"], trip["holding_ns"]) == pytest.approx((0.03, 0.05, 5 * MINUTE))


def test_positions_are_held_at_closes(small, random_two):
    assert small.positions.columns == ["ts", "SOLUSDT"]
    assert small.position_qty().tolist() == [0.0, 50.0, 50.0, 30.0, 30.0, 30.0, 0.0, -10.0, -10.0, -10.0]
    assert random_two.positions.columns == ["ts", "SOLUSDT", "AVAXUSDT"]
    held = random_two.positions.select("SOLUSDT", "AVAXUSDT").to_numpy().T
    np.testing.assert_allclose(held, random_two.ledger.held * 0.1, atol=1e-9)  # lots of 0.1 of either
    assert random_two.position_qty().tolist() == held.tolist()


def test_frames_of_two_legs_are_those_of_each(random_two):
    for k, name in enumerate(random_two.legs):
        ledger = replace(random_two.ledger, fills=random_two.ledger.fills[random_two.ledger.fills["leg"] == k])
        alone = replace(random_two, ledger=ledger)
        for frame in ("trades", "round_trips"):
            mine = getattr(random_two, frame).filter(pl.col("leg") == name)
            assert mine.equals(getattr(alone, frame))
            assert mine.height > 10


def test_nothing_is_computed_before_it_is_asked_for(random_one):
    fresh = replace(random_one)
    assert set(fresh.__dict__) == set(Result.__dataclass_fields__)
    assert fresh.trades is fresh.trades


def test_legs_are_found_by_name_or_index(random_two, small, carry):
    assert carry.legs == ("SOLUSDT:spot", "SOLUSDT:linear")
    assert (random_two.leg("AVAXUSDT"), random_two.leg(1), small.instrument) == (1, 1, PERP)
    for unknown in ("BTCUSDT", 2, -1, True, None):
        with pytest.raises(InvalidInput, match="SOLUSDT, AVAXUSDT"):
            random_two.leg(unknown)
    with pytest.raises(InvalidInput, match="has no one instrument"):
        _ = carry.instrument
    assert repr(small).startswith("Result(SOLUSDT: 10 bars, 2024-01-01 to 2024-01-01, 4 fills, equity 10,000.00 -> ")


# ---------------------------------------------------------------- pairs
def test_a_pair_is_one_position_with_its_basis(carry):
    pairs = carry.pair_trades("SOLUSDT:spot", "SOLUSDT:linear")
    (pair,) = pairs.to_dicts()
    assert (pair["entry_bar"], pair["exit_bar"], pair["side"]) == (1, 5, 1)
    assert pair["basis_entry_bps"] == pytest.approx(1 / 101 * 1e4, rel=1e-12)
    assert pair["basis_exit_bps"] == pytest.approx(0.5 / 105 * 1e4, rel=1e-12)
    assert (pair["gross"], pair["funding"], pair["fee"]) == pytest.approx((40.0 - 35.0, 6.0, 3.0), rel=1e-12)
    assert pair["pnl"] == pytest.approx(8.0, rel=1e-12)
    assert pair["return_on_equity_frac"] == pytest.approx(8.0 / 10_000.0, rel=1e-12)
    assert pair["holding_ns"] == 4 * MINUTE
    assert carry.pair_trades(0, 1).equals(pairs)
    assert carry.round_trips.height == 2
    # What the account made up to the bar of the exit: the pair's profit, both legs flat then.
    assert carry.equity["equity"][5] == pytest.approx(10_008.0, rel=1e-14)
    with pytest.raises(InvalidInput, match="another leg"):
        carry.pair_trades(1, "SOLUSDT:linear")


# ---------------------------------------------------------------- figures
def test_figures_of_a_small_account(small):
    found = small.metrics()
    final = 10_000.0 - 4.5 - 4.0 + 80.0 - 60.0 + 10 * (97 - 95)
    assert found["final_equity"] == pytest.approx(final, rel=1e-14)
    gain = final - 10_000.0
    assert (found["pnl_worst"], found["pnl_best"]) == pytest.approx((gain, gain + 10.0), rel=1e-12)
    assert found["ambiguous_bars"] == 2.0
    assert (found["fees"], found["funding"], found["interest"]) == (4.5, -4.0, 0.0)
    assert found["cost_share"] == pytest.approx(8.5 / (gain + 8.5), rel=1e-12)
    assert (found["trades"], found["round_trips"], found["trades_per_day"]) == (2.0, 1.0, 2 * 1_440 / 10)
    assert (found["long_trades"], found["long_win_rate"], found["short_trades"]) == (2.0, 0.5, 0.0)
    assert found["long_pnl"] == pytest.approx(small.trades["pnl"].sum(), rel=1e-14)
    assert math.isnan(found["short_win_rate"])
    assert found["holding_hours"] == pytest.approx(5 / 60, rel=1e-14)
    assert found["exposure_time"] == 8 / 10
    traded = [5_000.0, 2_080.0, 2_940.0, 970.0]
    assert found["turnover"] == pytest.approx(sum(traded) / 10_000.0, rel=1e-14)
    assert found["turnover_per_year"] == pytest.approx(found["turnover"] * 525_600 / 10, rel=1e-14)
    assert (found["fills"], found["maker_fills"]) == (4.0, 1.0)
    assert found["maker_share"] == pytest.approx(2_080.0 / sum(traded), rel=1e-14)
    assert (found["orders"], found["orders_rejected"], found["liquidations"], found["is_ruined"]) == (6.0, 1.0, 0, 0)
    assert found["max_margin_ratio"] == pytest.approx(50.0 / small.equity["equity"][1], rel=1e-14)
    closes = [100, 101, 103, 104, 102, 102, 98, 97, 96, 95]  # the gap keeps the close before it
    value = np.abs(small.position_qty()) * closes / small.equity["equity"].to_numpy()
    assert found["gross_exposure"] == pytest.approx(value.mean(), rel=1e-13)
    assert found["funding_settlements"] == 1.0


def test_the_better_order_of_events_bounds_the_other_side(small):
    better = replace(small, intrabar="better").metrics()
    gain = better["final_equity"] - 10_000.0
    assert (better["pnl_worst"], better["pnl_best"]) == pytest.approx((gain - 10.0, gain), rel=1e-12)


def test_liquidations_are_counted(hand_made, deal):
    deals = [deal(1, 10.0, 100.0), deal(3, -10.0, 60.0, role=Role.LIQUIDATION, fee=600.0)]
    found = hand_made([100.0, 100.0, 90.0, 60.0], deals, cash=1_000.0, is_ruined=True).metrics()
    assert (found["liquidations"], found["is_ruined"], found["final_equity"]) == (1.0, 1.0, 0.0)
    assert found["total_return"] == found["max_drawdown"] == -1.0


def test_an_account_that_never_traded_has_figures(hand_made):
    result = hand_made([100.0] * 3_000, [])
    found = result.metrics()
    assert found["trades"] == found["turnover"] == found["gross_exposure"] == found["exposure_time"] == 0.0
    for name in ("sharpe", "win_rate", "maker_share", "holding_hours", "cost_share"):
        assert math.isnan(found[name]), name
    for frame in (result.trades, result.round_trips, result.fills, result.orders, result.drawdowns()):
        assert frame.height == 0
    assert {"exit_role", "mae_frac", "holding_ns"} <= set(result.trades.columns)
    assert result.monthly_returns().select("year", "jan", "total").rows() == [(2024, 0.0, 0.0)]


def test_figures_agree_with_the_frames(random_one, random_two):
    for result in (random_one, random_two):
        found, equity, fills = result.metrics(), result.equity, result.fills
        for name, column in (("fees", "fee"), ("slippage", "slippage"), ("funding", "funding")):
            assert found[name] == pytest.approx(equity[column].sum(), rel=1e-12, abs=1e-9), name
        assert found["max_drawdown"] == equity["drawdown"].min()
        assert found["maker_fills"] == fills["is_maker"].sum() > 0
        assert found["turnover"] == pytest.approx((fills["qty"] * fills["price"]).abs().sum() / 10_000.0, rel=1e-12)
        assert found["round_trips"] == result.round_trips.height
        assert found["trades"] == result.trades.height == found["long_trades"] + found["short_trades"]
        held = result.positions.drop("ts").select(pl.any_horizontal(pl.all() != 0)).to_series()
        assert found["exposure_time"] == held.mean()
        assert found["expectancy"] == pytest.approx(result.trades["pnl"].mean(), rel=1e-12)
        daily = pd.Series(equity["equity"].to_numpy(), pd.to_datetime(result.ts)).resample("D").last()
        returns = daily / daily.shift(fill_value=10_000.0) - 1
        assert found["days"] == returns.size == 5
        assert found["sharpe"] == pytest.approx(returns.mean() / returns.std() * math.sqrt(365), rel=1e-10)
        assert result.daily_returns.tolist() == pytest.approx(returns.tolist(), rel=1e-10)


def test_tables_are_of_the_same_curve(random_one):
    total = random_one.monthly_returns()["total"][0]
    assert total == pytest.approx(random_one.metrics()["total_return"], rel=1e-12)
    assert random_one.rolling(3).height == 5
    table = random_one.drawdowns(4)
    assert table.height == 4
    assert table["depth"][0] == random_one.metrics()["max_drawdown"]
    assert table["length_bars"][0] == random_one.metrics()["max_drawdown_bars"]
    assert table["depth"].is_sorted()


# ---------------------------------------------------------------- files
def settings_of_every_kind(result):
    exits = Exits(stop_distance=2.0, stop_unit="unit", take_profits=((0.01, 0.4), (0.02, 0.6)), time_stop_bars=40)
    costs = Costs(taker_fee_bps=5.5, fee_schedule=((START, 4.0, -0.5),), volume_cap_frac=0.1)
    margin = Margin("isolated", leverage=10, base_rate_hourly={"SOLUSDT": 1e-5})
    return replace(result, costs=(costs, Costs()), exits=(exits, None), margin=margin, intrabar="better")


def test_files_make_the_same_result_to_the_bit(random_one, random_two, carry, small):
    assert random_two.ledger.held.shape == (2, 6_000)
    for result in (random_one, random_two, settings_of_every_kind(random_two), carry, small):
        files = result.to_files()
        again = Result.from_files(files)
        assert again.to_files() == files
        for name in ("ts", "high", "low", "close", "pending"):
            mine, theirs = getattr(again, name), getattr(result, name)
            assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        for name in ("rows", "fills", "orders", "held"):
            mine, theirs = getattr(again.ledger, name), getattr(result.ledger, name)
            assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        for name in ("instruments", "costs", "margin", "exits", "initial_cash_quote", "is_ruined", "intrabar"):
            assert getattr(again, name) == getattr(result, name), name
        assert again.metrics() == pytest.approx(result.metrics(), rel=0, nan_ok=True)
        assert again.trades.equals(result.trades)


def test_equal_results_are_equal_bytes_and_settings_are_json(random_one):
    assert replace(random_one).to_files() == random_one.to_files()
    settings = json.loads(random_one.to_files()["settings.json"], parse_constant=pytest.fail)
    assert settings["instruments"] == [PERP.to_dict()]


def test_files_of_another_layout_are_refused(small):
    files = small.to_files()
    with pytest.raises(SchemaMismatch, match="must be exactly"):
        Result.from_files({name: content for name, content in files.items() if name != "rows.parquet"})
    with pytest.raises(SchemaMismatch, match=r"rows\.parquet must be Parquet"):
        Result.from_files(files | {"rows.parquet": b"PAR1"})
    with pytest.raises(SchemaMismatch, match=r"fills\.parquet must have the columns"):
        Result.from_files(files | {"fills.parquet": files["orders.parquet"]})
    with pytest.raises(SchemaMismatch, match=r"bars\.ts is required"):
        Result.from_files(files | {"bars.parquet": files["orders.parquet"]})
    for broken, rule in ((b"{", "must be JSON"), (b'{"format": 0}', "format must be 1"), (b"[]", "format must be 1")):
        with pytest.raises(SchemaMismatch, match=rule):
            Result.from_files(files | {"settings.json": broken})
    settings = json.loads(files["settings.json"])
    without = {name: value for name, value in settings.items() if name != "exits"}
    unknown = settings | {"costs": settings["costs"] | {"kind": "Cost"}}
    renamed = settings | {"margin": settings["margin"] | {"lever": 3}}
    for changed, rule in ((without, "lacks 'exits'"), (unknown, "known settings"), (renamed, "known settings")):
        with pytest.raises(SchemaMismatch, match=rule):
            Result.from_files(files | {"settings.json": json.dumps(changed).encode()})


def test_a_folder_holds_one_result_and_is_replaced_whole(tmp_path, small, random_one):
    place = write_result(small, tmp_path / "runs" / "one")
    assert read_result(place).to_files() == small.to_files()
    with pytest.raises(InvalidInput, match="overwrite=True"):
        write_result(random_one, place)
    assert read_result(place).to_files() == small.to_files()
    write_result(random_one, place, overwrite=True)
    assert read_result(place).to_files() == random_one.to_files()
    assert [path.name for path in place.parent.iterdir()] == ["one"]  # nothing left beside it
    (tmp_path / "empty").mkdir()
    write_result(small, tmp_path / "empty")


def test_a_folder_of_other_things_is_never_replaced(tmp_path, small, monkeypatch):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("1")
    with pytest.raises(InvalidInput, match=r"nothing but a result .*chapter\.txt"):
        write_result(small, other, overwrite=True)
    with pytest.raises(InvalidInput, match="must be a folder"):
        write_result(small, other / "chapter.txt", overwrite=True)
    with pytest.raises(InvalidInput, match="missing"):
        read_result(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]
    # A disk that is full leaves the result that was there.
    place = write_result(small, tmp_path / "kept")
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_result(small, place, overwrite=True)
    assert read_result(place).to_files() == small.to_files()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "thesis"]


# ---------------------------------------------------------------- vectorbt
def test_what_vectorbt_cannot_express_is_refused(small, carry, hand_made, deal):
    with pytest.raises(InvalidInput, match="one leg"):
        carry.to_vectorbt()
    with pytest.raises(InvalidInput, match="ruined"):
        replace(small, is_ruined=True).to_vectorbt()
    twice = hand_made([100.0] * 4, [deal(1, 1.0, 100.0), deal(2, 1.0, 100.0), deal(2, -1.0, 101.0)])
    with pytest.raises(InvalidInput, match=r"fills\[2\] must be the only one of its bar.*bar 2"):
        twice.to_vectorbt()
    with pytest.raises(InvalidInput, match="no margin"):
        hand_made([100.0] * 4, [deal(1, 150.0, 100.0)]).to_vectorbt()
