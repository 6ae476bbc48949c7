"""The seven laws of a resumable kernel, as functions that raise ``LawBroken``; the oracles live in tests/oracles.

Run as a script it resumes saved kernels in a process of its own: ``python laws.py before.npz after.npz``.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba.core.registry import CPUDispatcher

from research.features.inputs import INPUTS, PRICE, SIGNED, SIZE, TIME, kind_of
from research.kernel import UNBOUNDED, FloatArray, KernelSpec

MINUTE_NS = 60_000_000_000
# What strategies and sizers read, and has no kind of its own, may be any number.
CEILING = 1e150
Columns = dict[str, np.ndarray]


class LawBroken(AssertionError):
    def __init__(self, law: str, case: Case, why: str) -> None:
        self.law = law
        super().__init__(f"{law}: {case} {why}")


@dataclass(frozen=True)
class Case:
    """A kernel, the parameters it runs with, and what it runs on."""

    spec: KernelSpec
    arguments: tuple[int | float, ...]
    columns: Mapping[str, np.ndarray]
    data: str
    holds: bool = False  # on a bar with NaN the kernel keeps its last answer instead of answering NaN

    def __str__(self) -> str:
        return f"{self.spec.name}{self.arguments} on {self.data}"

    @property
    def inputs(self) -> list[np.ndarray]:
        return [self.columns[name] for name in self.spec.inputs]

    @property
    def n(self) -> int:
        return self.inputs[0].shape[0]

    @property
    def readable(self) -> np.ndarray:
        """Bars that no input withholds."""
        mask = np.ones(self.n, dtype=bool)
        for name, column in zip(self.spec.inputs, self.inputs, strict=True):
            if column.dtype == np.float64:
                rows = np.isfinite(column) & (np.abs(column) <= CEILING)
                kind = kind_of(name)
                rows &= (column > 0.0) if kind == PRICE else (column >= 0.0) if kind == SIZE else True
                mask &= rows if rows.ndim == 1 else rows.all(axis=1)
        return mask

    def run(self, splits: Sequence[int] = (), start: int = 0, stop: int | None = None) -> tuple[FloatArray, FloatArray]:
        """Return output and final state of a cold run over bars start..stop, cut at ``splits``."""
        return self.resume(self.spec.initial_state(self.arguments), splits, start, stop)

    def resume(
        self, state: FloatArray, splits: Sequence[int] = (), start: int = 0, stop: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        edges = [start, *splits, self.n if stop is None else stop]
        parts = [
            self.spec.run([column[a:b] for column in self.inputs], self.arguments, state) for a, b in pairwise(edges)
        ]
        return np.concatenate(parts, axis=1), state

    def scrambled_after(self, k: int) -> Case:
        """Return the case with other bars from k on."""
        changed = {}
        for name, column in self.columns.items():
            tail = column[k:][::-1]
            changed[name] = np.concatenate([column[:k], tail * 3 if column.dtype == np.int64 else tail * 1.7])
        return Case(self.spec, self.arguments, changed, f"{self.data} scrambled after {k}", self.holds)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def parameter_sets(spec: KernelSpec) -> list[tuple[int | float, ...]]:
    """Return the defaults, every whole number at its least, and all doubled."""
    default = spec.arguments()
    least = tuple(p.low if isinstance(p.default, int) else p.default for p in spec.params)
    doubled = tuple(
        min(p.high, 2 * p.default + 1) if isinstance(p.default, int) else min(p.high, 2.0 * p.default)
        for p in spec.params
    )
    return list(dict.fromkeys([default, least, doubled]))


def chunk(case: Case, splits: Sequence[int]) -> None:
    """Any split of the input gives the same bytes, in output and state."""
    whole, state = case.run()
    parts, cut_state = case.run(splits)
    if not same(whole, parts):
        column = int(np.flatnonzero((whole.view(np.int64) != parts.view(np.int64)).any(axis=0))[0])
        raise LawBroken("chunk", case, f"bar {column} depends on the split {list(splits)[:8]}")
    if not same(state, cut_state):
        raise LawBroken("chunk", case, "the final state depends on the split")


def prefix(case: Case, k: int) -> None:
    """Output up to bar k is that of the first k bars alone, whatever comes later."""
    whole, _ = case.run()
    alone, _ = case.run(stop=k)
    if not same(np.ascontiguousarray(whole[:, :k]), alone):
        raise LawBroken("prefix", case, f"the first {k} bars give another output when more bars follow")
    other, _ = case.scrambled_after(k).run()
    if not same(np.ascontiguousarray(other[:, :k]), alone):
        raise LawBroken("prefix", case, f"the output before bar {k} changes with the bars after it")


def resume_here(case: Case, k: int) -> None:
    """State saved as bytes at k and continued equals the uninterrupted run."""
    whole, _ = case.run()
    _, state = case.run(stop=k)
    loaded = np.frombuffer(state.tobytes()).copy()
    rest, _ = case.resume(loaded, start=k)
    if not same(np.ascontiguousarray(whole[:, k:]), rest):
        raise LawBroken("resume", case, f"resumed at bar {k} it goes on otherwise")


def restart(case: Case, k: int) -> int:
    """A cold start at k agrees with the long run from the declared warm-up on; return the bars compared."""
    whole, _ = case.run()
    warmup = case.spec.warmup(*case.arguments)
    if warmup == UNBOUNDED:
        return _restart_from_nothing(case, whole) if case.holds else _restart_after_nothing(case, k)
    cold, _ = case.run(start=k)
    seen = np.cumsum(case.readable[k:])
    compared = case.readable[k:] & (seen >= warmup)
    for old, new in zip(whole[:, k:], cold, strict=True):
        old, new = old[compared], new[compared]
        scale = np.abs(old).max(initial=0.0)
        worst = np.abs(old - new).max(initial=0.0)
        if not worst <= case.spec.warmup_rtol * scale:
            raise LawBroken("restart", case, f"cold at bar {k} it is off by {worst:.3g} at a scale of {scale:.3g}")
    return int(compared.sum())


def measured_warmup(case: Case, starts: Sequence[int]) -> int:
    """Return the readable bars after the worst of some cold starts from which it equals the long run for good."""
    whole, _ = case.run()
    worst = 0
    for k in starts:
        cold, _ = case.run(start=k)
        seen = np.cumsum(case.readable[k:])
        for old, new in zip(whole[:, k:], cold, strict=True):
            scale = np.abs(old[np.isfinite(old)]).max(initial=0.0)
            off = case.readable[k:] & ~(np.abs(old - new) <= case.spec.warmup_rtol * scale) & np.isfinite(old)
            if off.any():
                worst = max(worst, int(seen[np.flatnonzero(off)[-1]]) + 1)
    return worst


def _restart_from_nothing(case: Case, whole: FloatArray) -> int:
    """A kernel without a warm-up may be started cold at every bar at which it remembers nothing."""
    state = case.spec.initial_state(case.arguments)
    empty = []
    for k in range(case.n):
        if not state.any():
            empty.append(k)
        case.resume(state, start=k, stop=k + 1)
    for k in empty[:: max(1, len(empty) // 8)]:
        cold, _ = case.run(start=k)
        if not np.array_equal(whole[:, k:], cold):
            raise LawBroken("restart", case, f"started at bar {k} with its empty state it goes another way")
    return len(empty)


def _restart_after_nothing(case: Case, k: int) -> int:
    """A feature without a warm-up is started cold by bars that it cannot read: those are all that may come before."""
    cold, _ = case.run(start=k)
    columns = dict(case.columns)
    for name in case.spec.inputs:
        if columns[name].dtype == np.float64:
            columns[name] = columns[name].copy()
            columns[name][:k] = math.nan
    late, _ = Case(case.spec, case.arguments, columns, f"{case.data} from bar {k}", case.holds).run()
    if not same(np.ascontiguousarray(late[:, k:]), cold):
        raise LawBroken("restart", case, f"bars that cannot be read before bar {k} change what comes after")
    return case.n - k


def finite(case: Case) -> None:
    """NaN before the lookback, finite after it on readable bars; on others as declared."""
    out, _ = case.run()
    readable = case.readable
    if case.holds:
        if not np.isfinite(out).all():
            raise LawBroken("finite", case, f"bar {np.flatnonzero(~np.isfinite(out).all(axis=0))[0]} is not finite")
        return
    lookback = case.spec.lookback(*case.arguments)
    expected = readable & (np.cumsum(readable) >= lookback)
    wrong = np.flatnonzero((np.isfinite(out) != expected).any(axis=0))
    if wrong.size:
        i = int(wrong[0])
        raise LawBroken("finite", case, f"bar {i} is {out[:, i]}, lookback {lookback}, readable {readable[i]}")
    if not np.isnan(out[:, ~expected]).all():
        raise LawBroken("finite", case, "gives an infinity where NaN is due")


def gap(case: Case) -> None:
    """A bar with any input withheld leaves the state alone and gives NaN, or holds the last answer; so does no bar."""
    _gap_at(case, case.n - 1, every=True)
    if not case.holds:
        for k in (0, 1, 7, *range(case.n // 2, case.n // 2 + 60, 7)):  # cold, and wherever a window may just be full
            _gap_at(case, k, every=False)
    state = case.spec.initial_state(case.arguments)
    case.resume(state, stop=0)
    if state.any():
        raise LawBroken("finite", case, "takes something from no bar at all")


def _gap_at(case: Case, k: int, *, every: bool) -> None:
    """Withhold bar k + 1 from a kernel that has taken k; ``every`` input alone and with every bad number, or all."""
    before, warm = case.run(stop=k)
    warm_bytes = warm.tobytes()
    floats = [i for i, column in enumerate(case.inputs) if column.dtype == np.float64]
    kinds = [kind_of(name) for name in case.spec.inputs]
    for bad in [math.nan, math.inf, -math.inf, -1.0, 0.0] if every and not case.holds else [math.nan]:
        # A number that is too small is bad only where it says so; each alone, then all of them together.
        wrong = [i for i in floats if not math.isfinite(bad) or kinds[i] == PRICE or (kinds[i] == SIZE and bad < 0.0)]
        for withheld in [*([i] for i in wrong), wrong] if every and not case.holds else [wrong]:
            bar = [column[k : k + 1].copy() for column in case.inputs]
            for i in withheld:
                bar[i][0] = bad
                if bar[i].ndim == 2:
                    bar[i][0, 1:] = case.inputs[i][k, 1:]  # one member of a basket is enough
            if not withheld:
                continue
            state = np.frombuffer(warm_bytes).copy()
            out = case.spec.run(bar, case.arguments, state)[:, 0]
            if case.holds and not same(out, np.ascontiguousarray(before[:, -1])):
                raise LawBroken("finite", case, f"a bar of {bad} turns {before[:, -1]} into {out}")
            if not case.holds and not (np.isnan(out).all() and state.tobytes() == warm_bytes):
                names = [case.spec.inputs[i] for i in withheld]
                raise LawBroken("finite", case, f"bar {k}: {bad} in {names} gives {out} or changes the state")


def pure(case: Case) -> None:
    """Inputs stay as they were, and the same call gives the same bytes whatever was called before."""
    before = {name: column.tobytes() for name, column in case.columns.items()}
    first, state = case.run()
    case.scrambled_after(case.n // 2).run()
    case.run([case.n // 3])
    again, state_again = case.run()
    if any(column.tobytes() != before[name] for name, column in case.columns.items()):
        raise LawBroken("pure", case, "writes into its inputs")
    if not (same(first, again) and same(state, state_again)):
        raise LawBroken("pure", case, "answers the same call differently")
    reached = globals_reached(case.spec.kernel)
    if reached:
        raise LawBroken("pure", case, f"is not closed: {', '.join(reached)}")


def globals_reached(kernel: Callable[..., object]) -> list[str]:
    """Return what a kernel can reach besides its arguments: only numbers, modules and other kernels are allowed."""
    found: list[str] = []
    queue, seen = [kernel], set()
    while queue:
        current = queue.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if not isinstance(current, CPUDispatcher):
            found.append(f"{getattr(current, '__name__', current)} is not compiled")
            continue
        function = current.py_func
        if function.__closure__:
            found.append(f"{function.__name__} closes over {function.__code__.co_freevars}")
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, CPUDispatcher):
                queue.append(value)
            elif value is not None and not (isinstance(value, (int, float, bool)) or inspect.ismodule(value)):
                found.append(f"{function.__name__} reads the global {name}")
            elif inspect.ismodule(value) and value.__name__ in ("random", "time", "datetime", "os"):
                found.append(f"{function.__name__} reads {value.__name__}")
        if "random" in function.__code__.co_names:
            found.append(f"{function.__name__} draws random numbers")
    return found


def market(n: int, seed: int = 7) -> dict[str, Columns]:
    """Return markets by name: a random walk, and what it becomes in bad company."""
    rng = np.random.default_rng(seed)
    walk = _walk(n, rng)
    flat = _columns(np.full(n, 100.0), np.zeros(n), np.full(n, 5.0), rng)
    halted = {name: column.copy() for name, column in walk.items()}
    for name, column in halted.items():
        if kind_of(name) == PRICE and not name.endswith("interval"):
            column[n // 2 :] = column[n // 2] if name.startswith(("basket", "reference")) else walk["close"][n // 2]
        elif kind_of(name) in (SIZE, SIGNED):
            column[n // 2 :] = 0.0
    empty = {name: np.zeros_like(column) if kind_of(name) == SIZE else column for name, column in walk.items()}
    jumps = {name: column.copy() for name, column in walk.items()}
    scale = np.where(rng.random(n).cumsum() % 40 < 20, 1e-8, 1e12)
    for name, column in jumps.items():
        if kind_of(name) in (PRICE, SIZE, SIGNED) and not name.endswith(("interval", "age", "expiry")):
            column *= scale if column.ndim == 1 else scale[:, None]
    gaps = {name: column.copy() for name, column in walk.items()}
    absent = (rng.random(n) < 0.05) | (np.arange(n) < 3) | ((np.arange(n) > n // 3) & (np.arange(n) < n // 3 + 40))
    for name, column in gaps.items():
        if column.dtype == np.float64:
            column[absent] = math.nan
            if kind_of(name) != PRICE or "." in name:  # now and then one source is late
                column[rng.random(n) < 0.01] = math.nan
    return {
        "walk": walk,
        "constant": flat,
        "halted": halted,
        "zero volume": empty,
        "tiny": {name: c * 1e-8 if kind_of(name) == PRICE else c for name, c in walk.items()},
        "huge": {name: c * 1e12 if kind_of(name) in (PRICE, SIZE) else c for name, c in walk.items()},
        "jumps": jumps,
        "gaps": gaps,
    }


def around(bars: Columns, seed: int = 3) -> Columns:
    """Return real bars with every other registered input made up around them, absent where they are."""
    rng = np.random.default_rng(seed)
    absent = ~np.isfinite(bars["close"])
    close = np.where(absent, np.nanmean(bars["close"]), bars["close"])
    volume = np.where(absent, 1.0, bars["volume"])
    columns = _columns(close, np.full(close.size, 1e-3), volume, rng)
    for column in columns.values():
        if column.dtype == np.float64:
            column[absent] = math.nan
    return columns | bars


def roles(columns: Columns) -> Columns:
    """Return columns with simple causal stand-ins for what strategies and sizers read."""
    close = columns["close"]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.log(close / np.roll(close, 1))
    change[0] = math.nan
    swing = 1_000.0 * change
    return {
        **columns,
        "trend": swing,
        "quality": np.abs(swing),
        "fast": close,
        "slow": columns["open"],
        "score": change,
        "target": np.where(np.isnan(swing), math.nan, np.where(np.abs(swing) < 0.4, 0.0, np.clip(swing, -1.0, 1.0))),
        "volatility": np.abs(np.where(np.abs(swing) > 2.5, math.nan, change)),
    }


def _walk(n: int, rng: np.random.Generator) -> Columns:
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    return _columns(close, np.abs(rng.normal(0.0, 5e-4, n)), rng.lognormal(2.0, 1.0, n), rng)


def _columns(close: FloatArray, reach: FloatArray, volume: FloatArray, rng: np.random.Generator) -> Columns:
    """Return every registered input and bound role of a market whose bars are these.

    A market that does not move (``reach`` all zero) has flows and rates that do not move either.
    """
    n, still = close.size, not reach.any()
    before = np.roll(close, 1)
    before[0] = close[0]
    near = {name: close * (1.0 + (0.0 if still else 1.0) * rng.normal(0.0, 2e-4, n)) for name in INPUTS}
    columns = {
        "ts": 1_700_000_000_000_000_000 // MINUTE_NS * MINUTE_NS + np.arange(n) * MINUTE_NS,
        "open": before,
        "high": np.maximum(before, close) * (1.0 + reach),
        "low": np.minimum(before, close) * (1.0 - reach),
        "close": close,
        "volume": volume,
        "turnover": volume * close,
        "trade_count": np.full(n, 7.0) if still else np.floor(volume) + 1.0,
        "taker_buy_volume": volume * (0.5 if still else rng.random(n)),
        "funding_interval": np.full(n, 8.0),
        "funding_age": np.arange(n) % 480.0,
        "funding_rate": np.full(n, 1e-4) if still else np.repeat(rng.normal(1e-4, 2e-4, n // 480 + 1), 480)[:n],
        "future_expiry": 50_000.0 + np.arange(n)[::-1],
        "buy_ratio": np.full(n, 0.5) if still else rng.random(n),
    }
    columns["sell_ratio"] = 1.0 - columns["buy_ratio"]
    for name, told in INPUTS.items():
        if name in columns:
            continue
        if told.kind == PRICE:
            columns[name] = near[name]
        elif told.kind == SIZE:
            columns[name] = volume * (0.3 if still else rng.random(n))
        else:
            columns[name] = volume * (0.1 if still else rng.normal(0.0, 1.0, n))
    for side in ("bid", "ask"):
        columns[f"{side}_depth_10"] += columns[f"{side}_depth_5"]
        columns[f"{side}_depth_20"] += columns[f"{side}_depth_10"]
    columns["buy_count"] = np.full(n, 3.0) if still else np.floor(columns["trade_count"] * rng.random(n))
    columns["bid_price"], columns["ask_price"] = close * (1.0 - 5e-5), close * (1.0 + 5e-5 + reach)
    beta = np.full(n, 100.0) if still else 40_000.0 * (close / 100.0) ** 0.7 * np.exp(rng.normal(0.0, 8e-4, n))
    for name in ("open", "high", "low", "close"):
        columns[f"reference.{name}"] = beta * columns[name] / close
    columns["reference.volume"] = volume * (1.0 if still else rng.random(n))
    members = [beta * 1e-3, beta * 2e-2 * (1.0 if still else np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))), close * 0.2]
    columns["basket.close"] = np.stack(members, axis=1)
    columns["value"] = np.full(n, -0.25) if still else np.sin(np.arange(n) / 40.0) + rng.normal(0.0, 0.2, n)
    columns["other"] = np.full(n, 3.0) if still else rng.normal(0.0, 2.0, n)
    columns["series"] = np.full(n, 4.2) if still else np.repeat(rng.normal(4.0, 1.0, n // 300 + 1), 300)[:n]
    columns["series.age"] = np.arange(n) % 300.0
    assert all(kind_of(name) in (TIME, PRICE, SIZE, SIGNED) for name in columns)
    return columns


def _resume_saved(source: str, goal: str) -> None:
    """Run every saved rest of a case: keys ``i.spec``, ``i.arguments``, ``i.state`` and ``i.input.j``."""
    from research.features import CATALOGUE
    from research.risk import SIZERS
    from research.strategies import STRATEGIES

    registries = {"features": CATALOGUE, "strategies": STRATEGIES, "risk": SIZERS}
    saved = np.load(source)
    answers = {}
    for i in range(int(saved["count"])):
        registry, name = str(saved[f"{i}.spec"]).split("/")
        spec = registries[registry][name]
        arguments = spec.arguments(dict(zip([p.name for p in spec.params], saved[f"{i}.arguments"], strict=True)))
        inputs = [saved[f"{i}.input.{j}"] for j in range(len(spec.inputs))]
        answers[str(i)] = spec.run(inputs, arguments, saved[f"{i}.state"])
    np.savez(goal, **answers)


if __name__ == "__main__":
    _resume_saved(*sys.argv[1:])
