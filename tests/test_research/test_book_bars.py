"""Bars from an order book against plain Python, the exchange's own best quotes, and the laws of a resumable kernel."""

import bisect
import math
from datetime import UTC, datetime
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.features.inputs import INPUTS
from research.market.bars import SCHEMAS, TS
from research.market.book_bars import BookBars, book_bars, book_columns
from research.market.book_kernels import MARKS, STATE_SIZE, aggregate_book
from research.market.book_levels import find_wall, set_level
from research.market.sources.market_folder import read_market_folder

MIDNIGHT = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
SECOND = 10**9
MINUTE = 60 * SECOND
TICK = 0.1
SMALL = {"depths": (1, 2, 5), "wall_factor": 1.8, "wall_levels": 6}


def frame_of(rows) -> pl.DataFrame:
    """Rows of (ns, update id, is snapshot, side, price, qty)."""
    names = ["ts", "update_id", "is_snapshot", "side", "price", "qty"]
    kinds = [pl.Int64, pl.Int64, pl.Boolean, pl.Int8, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row").with_columns(
        pl.col("ts").cast(TS)
    )


def snapshot_rows(at: int, update: int, bids: dict[float, float], asks: dict[float, float]) -> list[tuple]:
    sides = [(1, bids), (-1, asks)]
    return [(at, update, True, side, price, qty) for side, levels in sides for price, qty in levels.items()]


def make_rows(n: int, seed: int = 0, start: int = MIDNIGHT + 7 * SECOND, faults: bool = True) -> pl.DataFrame:
    """Updates of some rows around a price that moves; at times a new snapshot, and faults: stale ids, crossed books."""
    rng = np.random.default_rng(seed)
    rows, now, update, mid = [], start, 100, 5_000

    def size() -> float:
        return float(rng.integers(1, 50)) / 10 * (8 if rng.random() < 0.05 else 1)

    for k in range(n):
        draw = rng.random() if k else 0.0
        if draw < 0.02:
            update = int(rng.integers(1, 50)) if rng.random() < 0.3 else update + 1  # the exchange counts anew at times
            for side in (1, -1):
                for j in range(12):
                    rows.append((now, update, True, side, (mid - side * (1 + j)) / 10, size()))
        else:
            update += int(rng.integers(1, 4))
            told = update - 10 if faults and draw < 0.05 else update
            for _ in range(rng.integers(1, 6)):
                side = 1 if rng.random() < 0.5 else -1
                away = int(rng.integers(-1, 14)) if faults and draw > 0.99 else int(rng.integers(1, 14))
                qty = 0.0 if rng.random() < 0.4 else size()
                rows.append((now, told, False, side, (mid - side * away) / 10, qty))
            if rng.random() < 0.1:  # the price moves: what it passes is gone
                move = int(rng.choice([-1, 1]))
                rows.append((now, told, False, move, (mid + move) / 10, size()))
                rows.append((now, told, False, -move, (mid + move) / 10, 0.0))
                mid += move
        if rng.random() < 0.9:
            now += int(rng.exponential(2_000)) * 1_000_000 + (200 * SECOND if rng.random() < 0.01 else 0)
    return frame_of(rows)


class PlainBook:
    """The same from the definitions: a dict of sizes and sorted prices per side, looked at after each update."""

    def __init__(self, depths=(5, 10, 20), wall_factor=5.0, wall_levels=50, capacity=16_384):
        self.depths, self.factor, self.looked_at, self.capacity = depths, wall_factor, wall_levels, capacity
        self.sizes = {1: {}, -1: {}}
        self.prices = {1: [], -1: []}  # both increasing
        self.synced, self.newest, self.skipped, self.crossed, self.dropped = False, None, 0, 0, 0
        self.timeline = [(0, None)]  # (time, quote) after every update that was taken
        self.flows = []  # (time, contribution)
        self.walls = {1: None, -1: None}  # price, since

    def best(self, side: int, count: int) -> list[tuple[float, float]]:
        prices = self.prices[side]
        chosen = prices[max(len(prices) - count, 0) :][::-1] if side > 0 else prices[:count]
        return [(price, self.sizes[side][price]) for price in chosen]

    def set(self, side: int, price: float, qty: float) -> None:
        sizes, prices = self.sizes[side], self.prices[side]
        if qty == 0 and price in sizes:
            del sizes[price]
            del prices[bisect.bisect_left(prices, price)]
        elif qty > 0:
            if price not in sizes:
                bisect.insort(prices, price)
            sizes[price] = qty
            if len(prices) > self.capacity:
                del sizes[prices.pop(0 if side > 0 else -1)]
                self.dropped += 1

    def clear(self) -> None:
        for side in (1, -1):
            self.sizes[side].clear()
            self.prices[side].clear()

    def update(self, time: int, update: int, is_snapshot: bool, rows: list[tuple[int, float, float]]) -> None:
        if is_snapshot:
            self.clear()
            self.synced = True
        elif not self.synced or update <= self.newest:
            self.skipped += 1
            return
        self.newest = update
        for side, price, qty in rows:
            self.set(side, price, qty)
        before, quote = self.timeline[-1][1], None
        if self.prices[1] and self.prices[-1]:
            (bid, bid_size), (ask, ask_size) = self.best(1, 1)[0], self.best(-1, 1)[0]
            if bid < ask:
                quote = (bid, bid_size, ask, ask_size)
            else:
                self.crossed += 1
                self.synced = False
                self.clear()
        if quote and before:
            flow = (quote[0] >= before[0]) * quote[1] - (quote[0] <= before[0]) * before[1]
            flow += -(quote[2] <= before[2]) * quote[3] + (quote[2] >= before[2]) * before[3]
            self.flows.append((time, flow))
        for side in (1, -1):
            self.walls[side] = self.wall(side, time) if quote else None
        self.timeline.append((time, quote))

    def wall(self, side: int, time: int) -> tuple[float, int] | None:
        levels = self.best(side, self.looked_at)
        price, size = max(levels, key=lambda level: level[1])  # the first of equals: the better price
        if size < self.factor * (sum(q for _, q in levels) / len(levels)):
            return None
        held = self.walls[side]
        return held if held and held[0] == price else (price, time)

    def bar(self, opens: int, closes: int) -> dict[str, float]:
        last = self.timeline[-1][1]
        if last is None:
            return dict.fromkeys(book_columns(self.depths), math.nan)
        bar = dict(zip(("bid_price", "bid_size", "ask_price", "ask_size"), last, strict=True))
        for depth in self.depths:
            bar[f"bid_depth_{depth}"] = sum(q for _, q in self.best(1, depth))
            bar[f"ask_depth_{depth}"] = sum(q for _, q in self.best(-1, depth))
        pieces = [
            (quote, max(start, opens), end)
            for (start, quote), end in zip(self.timeline, [t for t, _ in self.timeline[1:]] + [closes], strict=True)
            if max(start, opens) < end
        ]
        known = [(quote[2] - quote[0], end - start) for quote, start, end in pieces if quote]
        bar["spread_mean"] = sum(s * t for s, t in known) / sum(t for _, t in known)
        whole = all(quote for quote, _, _ in pieces) and sum(t for _, t in known) == closes - opens
        bar["order_flow_imbalance"] = sum(f for t, f in self.flows if t >= opens) if whole else math.nan
        middle = (last[0] + last[2]) / 2
        for side, name in ((1, "bid"), (-1, "ask")):
            wall = self.walls[side]
            bar[f"{name}_wall_size"] = self.sizes[side][wall[0]] if wall else 0.0
            bar[f"{name}_wall_distance"] = abs(wall[0] - middle) / middle if wall else 0.0
            bar[f"{name}_wall_age"] = (closes - wall[1]) / 1e9 if wall else 0.0
        return bar


def twin(rows: pl.DataFrame, start=None, until=0, **params) -> tuple[pl.DataFrame, PlainBook]:
    book, table = PlainBook(**params), []
    told = rows.with_columns(pl.col("ts").to_physical()).rows()
    first = -(-(told[0][0] if start is None else start) // MINUTE)
    ends = first

    def close_up_to(time: int) -> None:
        nonlocal ends
        while time // MINUTE >= ends + 1:
            table.append({"ts": ends * MINUTE, **book.bar(ends * MINUTE, (ends + 1) * MINUTE)})
            book.timeline, book.flows = [((ends + 1) * MINUTE, book.timeline[-1][1])], []
            ends += 1

    for (time, update, is_snapshot), group in groupby(told, key=lambda row: row[:3]):
        close_up_to(time)
        book.update(time, update, is_snapshot, [row[3:] for row in group])
    close_up_to(until)
    return pl.DataFrame(table, infer_schema_length=None), book


def require_twin(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Sizes and prices to the bit; the flow's sum, spreads and distances, which Python makes of prices, to rounding."""
    assert found["ts"].to_physical().to_list() == expected["ts"].to_list()
    assert set(found.columns) == set(expected.columns)
    for name in found.columns[1:]:
        rtol, atol = 0.0, 0.0
        if name in ("spread_mean", "order_flow_imbalance") or name.endswith("distance"):
            rtol, atol = 1e-9, 1e-12 if name.endswith("distance") else 1e-9
        np.testing.assert_allclose(found[name], expected[name].cast(pl.Float64), rtol, atol, err_msg=name)


def same_bits(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    return left.schema == right.schema and all(
        a.to_physical().to_numpy().tobytes() == b.to_physical().to_numpy().tobytes()
        for a, b in zip(left, right, strict=True)
    )


# ---------------------------------------------------------------------------------------------- what a bar says


def test_columns_are_those_that_features_read():
    assert set(book_columns()) == {name for name, column in INPUTS.items() if column.source.startswith("book")}
    found = book_bars(make_rows(100), "1m", TICK)
    assert found.schema == pl.Schema({"ts": TS, **dict.fromkeys(book_columns(), pl.Float64)})
    assert book_bars(make_rows(100), "1m", TICK, (3,)).columns[1:] == book_columns((3,))


def test_a_small_bar_is_as_a_human_sees_it():
    bids, asks = {9.9: 5.0, 9.8: 2.0, 9.6: 20.0}, {10.0: 3.0, 10.1: 1.0, 10.5: 1.0}
    rows = snapshot_rows(MIDNIGHT, 1, bids, asks)
    rows += [(MIDNIGHT + 10 * SECOND, 2, False, 1, 9.9, 7.0)]  # +2
    rows += [(MIDNIGHT + 20 * SECOND, 3, False, -1, 10.0, 0.0), (MIDNIGHT + 20 * SECOND, 3, False, 1, 9.8, 1.0)]  # +3
    rows += [(MIDNIGHT + 30 * SECOND, 4, False, 1, 9.9, 0.0)]  # -7
    rows += [(MIDNIGHT + 40 * SECOND, 5, False, -1, 10.0, 4.0)]  # -4
    bars = book_bars(frame_of(rows), "1m", TICK, (2, 9), 2.0, 5, until=MIDNIGHT + MINUTE)
    assert bars.height == 1
    bar = bars.row(0, named=True)
    assert bar["ts"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert (bar["bid_price"], bar["bid_size"], bar["ask_price"], bar["ask_size"]) == (9.8, 1.0, 10.0, 4.0)
    assert (bar["bid_depth_2"], bar["ask_depth_2"], bar["bid_depth_9"], bar["ask_depth_9"]) == (21.0, 5.0, 21.0, 6.0)
    assert bar["order_flow_imbalance"] == 2 + 3 - 7 - 4
    assert bar["spread_mean"] == pytest.approx((0.1 * 20 + 0.2 * 10 + 0.3 * 10 + 0.2 * 20) / 60)
    # Bids of 1 and 20: 20 is not below twice the average of 10.5 ... which is 21: no wall. Asks of 4, 1, 1: 4 = 2 x 2.
    assert (bar["bid_wall_size"], bar["bid_wall_distance"], bar["bid_wall_age"]) == (0.0, 0.0, 0.0)
    assert (bar["ask_wall_size"], bar["ask_wall_age"]) == (4.0, 20.0)
    assert bar["ask_wall_distance"] == pytest.approx(0.1 / 9.9)


def test_flow_of_every_move_of_the_best_level_is_that_of_the_paper():
    for bid, ask, flow in (
        ({9.9: 5.0}, {10.0: 3.0}, 0.0),
        ({9.9: 8.0}, {10.0: 3.0}, 3.0),  # more at the bid
        ({9.9: 1.0}, {10.0: 3.0}, -4.0),  # less at the bid
        ({9.95: 2.0, 9.9: 5.0}, {10.0: 3.0}, 2.0),  # a better bid: its size
        ({9.8: 9.0}, {10.0: 3.0}, -5.0),  # the bid gone: the size that was there
        ({9.9: 5.0}, {10.0: 4.0}, -1.0),
        ({9.9: 5.0}, {9.95: 2.0, 10.0: 3.0}, -2.0),
        ({9.9: 5.0}, {10.1: 1.0}, 3.0),
    ):
        rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0}, {10.0: 3.0}) + snapshot_rows(MIDNIGHT + SECOND, 2, bid, ask)
        found = book_bars(frame_of(rows), "1m", 0.05, until=MIDNIGHT + MINUTE)
        assert found["order_flow_imbalance"].to_list() == [flow]


def test_a_wall_ages_while_its_price_holds_it_and_starts_anew_when_it_comes_back():
    def bid(at, update, **sizes):
        return [(MIDNIGHT + at * SECOND, update, False, 1, float(p[1:]) / 10, q) for p, q in sizes.items()]

    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 1.0, 9.8: 1.0, 9.7: 9.0, 9.6: 1.0}, {10.0: 1.0})
    rows += bid(10, 2, p97=8.0)  # smaller, and still the wall
    rows += bid(70, 3, p98=20.0)  # a larger one takes over
    rows += bid(80, 4, p98=1.0)  # and is gone: the old one stands since now
    rows += bid(130, 5, p97=1.0)  # no wall
    rows += bid(140, 6, p97=9.0)  # a wall
    rows += bid(185, 7, p99=9.5, p97=9.5)  # two of one size, neither twice the average; 9.5 < 2 * 21 / 4
    found = book_bars(frame_of(rows), "1m", TICK, (5,), 2.0, 50, until=MIDNIGHT + 4 * MINUTE)
    assert found["bid_wall_size"].to_list() == [8.0, 8.0, 9.0, 0.0]
    assert found["bid_wall_age"].to_list() == [60.0, 40.0, 40.0, 0.0]
    assert found["bid_wall_distance"].to_list() == pytest.approx([0.25 / 9.95] * 3 + [0.0])
    assert found["ask_wall_size"].to_list() == [0.0] * 4  # a level alone is its own average


def test_a_wall_is_sought_among_the_best_levels_alone_and_of_equals_the_better_is_taken():
    sizes = np.array([90.0, 1.0, 9.0, 1.0, 9.0, 1.0])  # the best last
    assert find_wall(sizes, 6, 6, 4.0) == 0
    assert find_wall(sizes, 6, 5, 2.0) == 4
    assert find_wall(sizes, 6, 5, 2.2) == -1
    assert find_wall(sizes, 6, 50, 4.0) == 0
    assert find_wall(sizes, 0, 50, 4.0) == -1
    assert find_wall(sizes, 1, 50, 1.0) == 0


def test_a_bar_without_rows_keeps_the_book():
    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0}, {10.0: 3.0})
    found = book_bars(frame_of(rows), "1m", TICK, until=MIDNIGHT + 3 * MINUTE)
    assert found["bid_size"].to_list() == [5.0] * 3
    assert found["order_flow_imbalance"].to_list() == [0.0] * 3
    assert found["spread_mean"].to_list() == pytest.approx([0.1] * 3)


# ---------------------------------------------------------------------------------------------- no book


def test_bars_before_the_first_snapshot_are_nan():
    rows = [(MIDNIGHT, 1, False, 1, 9.9, 1.0), (MIDNIGHT, 1, False, -1, 10.0, 1.0)]
    rows += snapshot_rows(MIDNIGHT + 90 * SECOND, 5, {9.9: 5.0}, {10.0: 3.0})
    stream = BookBars("1m", TICK)
    found = stream.push(frame_of(rows), until=MIDNIGHT + 3 * MINUTE)
    assert stream.skipped_updates == 1
    assert found["bid_price"].to_list()[1:] == [9.9, 9.9]
    assert all(math.isnan(found[name][0]) for name in book_columns())
    assert found["order_flow_imbalance"].is_nan().to_list() == [True, True, False]  # half of the bar is unknown
    assert found["spread_mean"].to_list()[1] == pytest.approx(0.1)


@pytest.mark.parametrize(("side", "price"), [(1, 10.0), (1, 10.3), (-1, 9.9), (-1, 9.8)])
def test_a_crossed_book_is_void_until_the_next_snapshot(side, price):
    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0, 9.8: 1.0}, {10.0: 3.0, 10.1: 1.0})
    rows += [(MIDNIGHT + 70 * SECOND, 2, False, side, price, 1.0)]
    rows += [(MIDNIGHT + 80 * SECOND, 3, False, side, price, 0.0)]
    rows += snapshot_rows(MIDNIGHT + 130 * SECOND, 4, {9.9: 5.0}, {10.0: 3.0})
    stream = BookBars("1m", TICK)
    before = stream.push(frame_of(rows[:-2]))
    assert stream.levels("bid") == stream.levels("ask") == []
    found = pl.concat([before, stream.push(frame_of(rows[-2:]), until=MIDNIGHT + 4 * MINUTE)])
    assert (stream.crossed_updates, stream.skipped_updates) == (1, 1)
    assert found["bid_price"].is_nan().to_list() == [False, True, False, False]
    assert all(math.isnan(found[name][1]) for name in book_columns())
    assert found["order_flow_imbalance"].is_nan().to_list() == [False, True, True, False]


def test_a_book_is_crossed_after_an_update_and_never_in_its_midst():
    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0}, {10.0: 3.0, 10.2: 1.0})
    at = MIDNIGHT + SECOND
    rows += [(at, 2, False, 1, 10.1, 4.0), (at, 2, False, -1, 10.0, 0.0)]  # the bid first, then what it took
    stream = BookBars("1m", TICK)
    stream.push(frame_of(rows[:-1]))
    assert (stream.levels("bid"), stream.levels("ask")) == ([(10.1, 4.0)], [(10.0, 3.0)])  # under way
    found = stream.push(frame_of(rows[-1:]), until=MIDNIGHT + MINUTE)
    assert stream.crossed_updates == 0
    assert found["bid_price"].to_list() == [10.1]
    assert found["order_flow_imbalance"].to_list() == [7.0]


def test_a_book_with_one_side_is_no_quote_and_comes_back_without_a_snapshot():
    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0}, {10.0: 3.0})
    rows += [(MIDNIGHT + 50 * SECOND, 2, False, -1, 10.0, 0.0), (MIDNIGHT + 90 * SECOND, 3, False, -1, 10.2, 1.0)]
    stream = BookBars("1m", TICK)
    found = stream.push(frame_of(rows), until=MIDNIGHT + 3 * MINUTE)
    assert found["bid_price"].is_nan().to_list() == [True, False, False]
    assert found["order_flow_imbalance"].is_nan().to_list() == [True, True, False]
    assert found["spread_mean"].to_list()[1:] == pytest.approx([0.3, 0.3])
    assert stream.crossed_updates == 0


def test_updates_that_are_not_newer_than_the_book_are_skipped():
    rows = snapshot_rows(MIDNIGHT, 10, {9.9: 5.0}, {10.0: 3.0})
    rows += [(MIDNIGHT + 1, 9, False, 1, 9.9, 1.0), (MIDNIGHT + 2, 10, False, 1, 9.9, 1.0)]
    rows += [(MIDNIGHT + 3, 12, False, 1, 9.9, 4.0), (MIDNIGHT + 4, 12, False, 1, 9.9, 1.0)]
    rows += snapshot_rows(MIDNIGHT + 5, 12, {9.9: 6.0}, {10.0: 3.0})  # told again under its own id, as Bybit does
    rows += snapshot_rows(MIDNIGHT + 6, 1, {9.9: 7.0}, {10.0: 3.0}) + [(MIDNIGHT + 7, 2, False, 1, 9.8, 1.0)]
    stream = BookBars("1m", TICK, depths=(2,))
    found = stream.push(frame_of(rows), until=MIDNIGHT + MINUTE)
    assert stream.skipped_updates == 3
    assert found["bid_depth_2"].to_list() == [8.0]
    assert found["order_flow_imbalance"].to_list() == [2.0]  # 5, 4, 6, 7


def test_a_snapshot_and_a_delta_of_one_time_and_id_are_two_updates():
    snapshot = snapshot_rows(MIDNIGHT, 5, {9.9: 5.0}, {10.0: 3.0})
    delta = [(MIDNIGHT, 5, False, 1, 9.9, 1.0)]
    newer = snapshot_rows(MIDNIGHT, 4, {9.9: 2.0, 9.7: 2.0}, {10.0: 3.0})
    for rows in (snapshot + delta, newer + delta + snapshot):
        found = book_bars(frame_of(rows), "1m", TICK, (2,), until=MIDNIGHT + MINUTE)
        assert found["bid_depth_2"].to_list() == [5.0]


# ---------------------------------------------------------------------------------------------- twin


@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("params", [{}, SMALL, {"depths": (1,), "wall_factor": 1.0, "wall_levels": 1}], ids=str)
def test_random_books_equal_the_twin(params, faults):
    for seed in range(4):
        rows = make_rows(600, seed, faults=faults)
        until = int(rows["ts"].to_physical()[-1]) + 2 * MINUTE
        stream = BookBars("1m", TICK, **params)
        found = stream.push(rows, until=until)
        expected, book = twin(rows, until=until, **params)
        require_twin(found, expected)
        counted = (stream.skipped_updates, stream.crossed_updates, stream.dropped_levels)
        assert counted == (book.skipped, book.crossed, 0)
        assert found["bid_price"].is_finite().sum() > 5
        assert not faults or (book.skipped > 5 and book.crossed > 0)


def test_bars_begin_at_the_start_that_is_told():
    rows = make_rows(300, 5)
    for start in (MIDNIGHT - 3 * MINUTE, MIDNIGHT, MIDNIGHT + 90 * SECOND, MIDNIGHT + 5 * MINUTE):
        found = book_bars(rows, "1m", TICK, **SMALL, start=start)
        require_twin(found, twin(rows, start=start, **SMALL)[0])
        assert found["ts"].to_physical()[0] == -(-start // MINUTE) * MINUTE
    assert BookBars("1m", TICK).push(None, until=MIDNIGHT).height == 0
    assert BookBars("1m", TICK, start=MIDNIGHT).push(None, until=MIDNIGHT + MINUTE)["bid_price"].is_nan().all()


@pytest.mark.parametrize("capacity", [1, 3, 8])
def test_a_full_side_loses_its_worst_level(capacity):
    for seed in range(3):
        rows = make_rows(400, seed)
        stream = BookBars("1m", TICK, **SMALL, capacity=capacity)
        found = stream.push(rows)
        expected, book = twin(rows, **SMALL, capacity=capacity)
        require_twin(found, expected)
        assert stream.dropped_levels == book.dropped > 100


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 1.0, 2.0])), max_size=60), st.integers(1, 6)
)  # fmt: skip
def test_levels_stay_sorted_and_equal_a_dict(changes, capacity):
    keys, sizes, count = np.zeros(capacity, np.int64), np.zeros(capacity), 0
    plain: dict[int, float] = {}
    for key, size in changes:
        count, dropped = set_level(keys, sizes, count, key, size)
        plain[key] = size
        worst = [k for k in sorted(plain) if plain[k] > 0][:-capacity]
        assert dropped == len(worst)
        plain = {k: q for k, q in plain.items() if q > 0 and k not in worst}
        assert dict(zip(keys[:count].tolist(), sizes[:count].tolist(), strict=True)) == plain
        assert keys[:count].tolist() == sorted(plain)


@pytest.mark.parametrize(
    ("tick", "unit"), [(1e-8, 1e-8), (0.05, 0.05), (25.0, 25.0), (1e9, 1e9), (0.0001, 0.0003), (1 / 3, 1 / 3)]
)
def test_any_size_of_price_and_tick(tick, unit):
    rows = make_rows(300, 2).with_columns(price=(pl.col("price") * 10).round() * unit)
    expected = twin(rows, **SMALL)[0]
    found = book_bars(rows, "1m", tick, **SMALL)
    assert found.height > 3
    for name in found.columns[1:]:
        np.testing.assert_allclose(found[name], expected[name].cast(pl.Float64), 1e-9, 1e-9 * unit, err_msg=name)


# ---------------------------------------------------------------------------------------------- real books

REAL = {
    "20230404": ("binance/usdm/BTCUSDT", 0.1),
    "20240808": ("binance/usdm/BTCUSDT", 0.1),
    "20241201": ("bybit/linear/XRPUSDT", 0.0001),
}


def real(folder, day: str) -> pl.DataFrame:
    place, _ = REAL[day]
    rows = read_market_folder(folder, *place.split("/"), "book")
    return rows.filter(pl.col("ts").dt.strftime("%Y%m%d").cast(pl.Int64).is_between(int(day), int(day) + 1))


@pytest.mark.parametrize(("day", "shared"), [("20230404", 310), ("20240808", 629)])
def test_the_rebuilt_book_shows_the_exchange_s_own_best_quotes(market_data, day, shared):
    place, tick = REAL[day]
    rows = real(market_data, day)
    top = pl.read_parquet(market_data / place / f"book_top_{day}.parquet")
    quotes = {row[0]: row[1:] for row in top.select("seq", "bid_price", "bid_qty", "ask_price", "ask_qty").rows()}
    stream, met = BookBars("1m", tick), 0
    columns = [rows[name].to_physical().to_numpy() for name in rows.columns]
    ids = columns[1]
    ends = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    snapshot = int(ids[rows["is_snapshot"].arg_true()[0]])
    for a, b in pairwise(ends):
        stream.push_arrays(*(column[a:b] for column in columns))
        update = int(ids[a])
        if update > snapshot and update in quotes:
            met += 1
            assert (*stream.levels("bid")[0], *stream.levels("ask")[0]) == quotes[update]
    assert met == shared
    assert stream.crossed_updates == stream.dropped_levels == 0


@pytest.mark.parametrize("day", REAL)
@pytest.mark.parametrize("params", [{}, {"depths": (3, 50), "wall_factor": 8.0, "wall_levels": 200}], ids=str)
def test_real_books_equal_the_twin(market_data, day, params):
    # Seconds become minutes, so that a few minutes of recording close hundreds of bars.
    rows = real(market_data, day)
    ts = rows["ts"].to_physical()
    slower = 600 if day == "20241201" else 60
    rows = rows.with_columns(((ts - int(ts[0])) * slower + MIDNIGHT + SECOND).cast(TS).alias("ts"))
    stream = BookBars("1m", REAL[day][1], **params)
    found = stream.push(rows)
    expected, book = twin(rows, **params)
    require_twin(found, expected)
    assert found.height > 40
    assert stream.crossed_updates == book.crossed == 0
    assert (found["bid_wall_size"] > 0).any()
    assert found["bid_price"].is_finite().sum() > found.height - 3


def test_real_minutes_of_a_real_book(market_data):
    found = book_bars(real(market_data, "20240808"), "1m", 0.1)
    assert found["ts"].dt.minute().to_list() == [55, 56, 57, 58, 59]
    assert found["bid_price"].is_finite().all()
    assert found["order_flow_imbalance"].is_finite().all()
    assert (found["spread_mean"] >= 0.1).all()


def test_flow_and_price_of_a_real_book_go_together(market_data):
    rows = real(market_data, "20240808")
    ts = rows["ts"].to_physical()
    slow = rows.with_columns(((ts - int(ts[0])) * 6 + MIDNIGHT).cast(TS).alias("ts"))  # bars of ten seconds
    found = book_bars(slow, "1m", 0.1)
    moves = (found["bid_price"] + found["ask_price"]).diff()[1:]
    assert pl.select(pl.corr(moves, found["order_flow_imbalance"][1:])).item() > 0.5


# ---------------------------------------------------------------------------------------------- laws


@given(
    cuts=st.lists(st.integers(0, 500), max_size=8), seed=st.integers(0, 99), clocks=st.booleans(),
    offset=st.sampled_from([0, 1, 17 * SECOND]),
)  # fmt: skip
def test_any_split_gives_the_same_bytes(cuts, seed, clocks, offset):
    rows = make_rows(200, seed, MIDNIGHT + offset)[:500]
    n, ts = rows.height, rows["ts"].to_physical()
    whole, stream = BookBars("1m", TICK, **SMALL, capacity=20), BookBars("1m", TICK, **SMALL, capacity=20)
    expected = whole.push(rows)
    pieces = []
    for a, b in pairwise(sorted({0, n, *(min(c, n) for c in cuts)})):
        pieces.append(stream.push(rows[a:b], until=int(ts[b]) if clocks and b < n else None))
    assert same_bits(pl.concat(pieces), expected)
    assert stream.snapshot() == whole.snapshot()


def test_one_row_at_a_time_gives_the_same_bytes_when_the_bar_closes():
    rows = make_rows(200, 3)
    stream = BookBars("1m", TICK, **SMALL)
    pieces = [stream.push(rows[i : i + 1]) for i in range(rows.height)]
    assert same_bits(pl.concat(pieces), book_bars(rows, "1m", TICK, **SMALL))
    minutes = (rows["ts"].to_physical() // MINUTE).to_list()
    told = [b - a if a > minutes[0] else max(b - a - 1, 0) for a, b in pairwise([minutes[0], *minutes])]
    assert [piece.height for piece in pieces] == told


def test_later_rows_change_nothing_before_them():
    rows = make_rows(300, 4)
    whole = book_bars(rows, "1m", TICK, **SMALL)
    for k in (1, 200, rows.height - 1):
        known = book_bars(rows[:k], "1m", TICK, **SMALL)
        assert same_bits(known, whole[: known.height])


@pytest.mark.parametrize("k", [0, 1, 13, 14, 300, 700])
def test_a_snapshot_continues_as_if_nothing_had_been(k):
    rows = make_rows(300, 6)
    first = BookBars("1m", TICK, **SMALL)
    before = first.push(rows[:k])
    blob = first.snapshot()
    second = BookBars("1m", TICK, **SMALL)
    second.push(make_rows(50, 9))  # whatever was there is gone
    second.restore(blob)
    assert second.snapshot() == blob
    after = second.push(rows[k:])
    assert same_bits(pl.concat([before, after]), book_bars(rows, "1m", TICK, **SMALL))
    assert first.snapshot() == blob
    assert len(blob) < 2_000  # the levels held, not the capacity


def test_a_snapshot_of_something_else_is_refused_and_changes_nothing():
    stream = BookBars("1m", TICK)
    stream.push(make_rows(100))
    before = stream.snapshot()
    others = [
        BookBars("5m", TICK), BookBars("1m", 0.01), BookBars("1m", TICK, (5,)), BookBars("1m", TICK, wall_factor=2.0),
        BookBars("1m", TICK, wall_levels=2), BookBars("1m", TICK, capacity=2),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(InvalidInput, match="must be a snapshot of book bars 1"):
            stream.restore(other.snapshot())
    flipped = bytearray(before)
    flipped[-5] ^= 1
    for blob in (b"", before[:-1], before + b"\0", bytes(flipped), before.split(b"\n")[0] + b"\n"):
        with pytest.raises(InvalidInput, match="snapshot"):
            stream.restore(blob)
    assert stream.snapshot() == before


def columns_of(rows: pl.DataFrame) -> list[np.ndarray]:
    return [rows[name].to_physical().to_numpy() for name in SCHEMAS["book"]]


def test_arrays_and_frames_are_the_same_path():
    rows = make_rows(300)
    given = columns_of(rows)
    before = [column.tobytes() for column in given]
    opens, columns = BookBars("1m", TICK).push_arrays(*given)  # read-only
    frame = book_bars(rows, "1m", TICK)
    assert opens.tolist() == frame["ts"].to_physical().to_list()
    assert list(columns) == book_columns()
    assert all(values.tobytes() == frame[name].to_numpy().tobytes() for name, values in columns.items())
    assert [column.tobytes() for column in given] == before


def test_the_compiled_kernel_equals_its_python_source():
    given = [np.array(column) for column in columns_of(make_rows(200))]
    given[2] = given[2].astype(np.int8)
    results = []
    for run in (aggregate_book, aggregate_book.py_func):
        marks, state, out = np.zeros(MARKS + 40, np.int64), np.zeros(STATE_SIZE + 40), np.zeros((17, 60))
        depths = np.array([2, 5])
        closed = run(*given, -1, MINUTE, depths, 6, 1.8, 1.0, 10.0, 20, marks, state, out)
        results.append((closed, marks.tobytes(), state.tobytes(), out[:, :closed].tobytes()))
    assert results[0] == results[1]
    assert results[0][0] > 3


def test_levels_are_told_best_first():
    stream = BookBars("1m", TICK)
    assert stream.levels("ask", 3) == []
    stream.push(frame_of(snapshot_rows(MIDNIGHT, 1, {9.8: 1.0, 9.9: 2.0}, {28145.2: 4.0, 28145.1: 3.0, 28145.3: 5.0})))
    assert stream.levels("bid", 5) == [(9.9, 2.0), (9.8, 1.0)]
    assert stream.levels("ask", 2) == [(28145.1, 3.0), (28145.2, 4.0)]  # the decimals that the exchange wrote
    with pytest.raises(InvalidInput, match="side must be 'bid' or 'ask'; received 'buy'"):
        stream.levels("buy")


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("update_id", -1, "must be a whole number of at least 0; received -1"),
        ("update_id", None, "must be a whole number"),
        ("is_snapshot", None, "must be true or false"),
        ("side", 0, "must be 1 .bid. or -1 .ask.; received 0"),
        ("side", None, "must be 1"),
        ("price", 0.0, "must be at least one tick and less than 2.*52 ticks; received 0.0"),
        ("price", -1.0, "must be at least one tick"),
        ("price", math.nan, "must be at least one tick"),
        ("price", math.inf, "must be at least one tick and less"),
        ("price", None, "must be at least one tick"),
        ("price", 500.05, "must be a multiple of tick_size; received 500.05"),
        ("price", 500.0001, "must be a multiple of tick_size"),
        ("qty", -1.0, "must be at least 0"),
        ("qty", math.nan, "must be at least 0"),
        ("qty", math.inf, "must be at least 0 and at most 1e150"),
        ("qty", None, "must be at least 0"),
        ("ts", -1, "must not be earlier than the row before it, nor in a bar that is closed; ns; received"),
        ("ts", None, "must not be earlier than the row before it"),
    ],
)
@pytest.mark.parametrize("cold", [True, False])
def test_a_bad_row_is_named_and_nothing_of_the_push_is_taken(column, value, match, cold):
    rows = make_rows(100)
    stream, expected = BookBars("1m", TICK), BookBars("1m", TICK)
    if not cold:
        stream.push(rows[:40])
        expected.push(rows[:40])
    before = stream.snapshot()
    good = rows[40:90]
    if column == "ts":
        changed = None if value is None else int(good["ts"].to_physical()[6]) - 1
        spoilt = good["ts"].to_physical().scatter(7, changed).cast(TS)
    else:
        spoilt = good[column].scatter(7, value)
    with pytest.raises(InvalidInput, match=rf"book.{column}\[7\] {match}"):
        stream.push(good.with_columns(spoilt.alias(column)), until=MIDNIGHT + 10**6 * MINUTE)
    assert stream.snapshot() == before
    assert same_bits(stream.push(rows[40:]), expected.push(rows[40:]))


def test_a_row_in_a_closed_bar_is_refused_even_of_the_update_under_way():
    rows = snapshot_rows(MIDNIGHT, 1, {9.9: 5.0}, {10.0: 3.0})
    stream = BookBars("1m", TICK)
    stream.push(frame_of(rows), until=MIDNIGHT + MINUTE)
    with pytest.raises(InvalidInput, match="nor in a bar that is closed"):
        stream.push(frame_of([(MIDNIGHT, 1, True, 1, 9.8, 1.0)]))
    assert stream.push(frame_of([(MIDNIGHT + MINUTE, 2, False, 1, 9.8, 1.0)])).height == 0


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: f.drop("is_snapshot"), "book.is_snapshot is required"),
        (lambda f: f.with_columns(level=1), "book.level is not a column"),
        (lambda f: f.with_columns(pl.col("ts").to_physical()), "book.ts must be a UTC datetime"),
        (lambda f: f.with_columns(update_id=pl.col("update_id") + 0.5), "must be whole"),
    ],
)
def test_other_columns_are_refused(spoil, match):
    with pytest.raises(SchemaMismatch, match=match):
        book_bars(spoil(make_rows(5)), "1m", TICK)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"interval": "2s"}, "interval must be one of"),
        ({"tick_size": -0.1}, "tick_size must be a finite number above 0"),
        ({"depths": ()}, "depths must be increasing, and at least one"),
        ({"depths": (5, 5)}, "depths must be increasing"),
        ({"depths": (0, 5)}, "depths must be a whole number"),
        ({"wall_factor": 0.0}, "wall_factor"),
        ({"wall_levels": 0}, "wall_levels"),
        ({"capacity": 0}, "capacity"),
    ],
)
def test_parameters_are_checked(change, match):
    with pytest.raises(InvalidInput, match=match):
        BookBars(**({"interval": "1m", "tick_size": TICK} | change))
