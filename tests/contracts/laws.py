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

from research.kernel import UNBOUNDED, FloatArray, KernelSpec

MINUTE_NS = 60_000_000_000
POSITIVE = ("open", "high", "low", "close", "mark")
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
                mask &= np.isfinite(column)
            if name in POSITIVE:
                mask &= column > 0.0
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
        return _restart_from_nothing(case, whole)
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
    """A bar with any input withheld leaves the state alone and gives NaN, or holds the last answer."""
    _, warm = case.run()
    warm_bytes = warm.tobytes()
    last = case.run()[0][:, -1]
    floats = [i for i, column in enumerate(case.inputs) if column.dtype == np.float64]
    absent = [math.nan] if case.holds else [math.nan, math.inf, -math.inf, -1.0]
    for bad in absent:
        for withheld in [floats] if case.holds else [*([i] for i in floats), floats]:
            bar = [column[-1:].copy() for column in case.inputs]
            for i in withheld:
                bar[i][0] = bad
            if not withheld:
                continue
            state = np.frombuffer(warm_bytes).copy()
            out = case.spec.run(bar, case.arguments, state)[:, 0]
            if case.holds and not same(out, np.ascontiguousarray(last)):
                raise LawBroken("finite", case, f"a bar of {bad} turns {last} into {out}")
            if not case.holds and not (np.isnan(out).all() and state.tobytes() == warm_bytes):
                names = [case.spec.inputs[i] for i in withheld]
                raise LawBroken("finite", case, f"{bad} in {names} gives {out} or changes the state")


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
    flat = _bars(np.full(n, 100.0), np.zeros(n), np.full(n, 5.0), rng)
    halted = {name: column.copy() for name, column in walk.items()}
    for name in POSITIVE[:4]:
        halted[name][n // 2 :] = walk["close"][n // 2]
    halted["volume"][n // 2 :] = 0.0
    jumps = {name: column.copy() for name, column in walk.items()}
    scale = np.where(rng.random(n).cumsum() % 40 < 20, 1e-8, 1e12)
    for name in (*POSITIVE[:4], "volume"):
        jumps[name] = jumps[name] * scale
    gaps = {name: column.copy() for name, column in walk.items()}
    absent = (rng.random(n) < 0.05) | (np.arange(n) < 3) | ((np.arange(n) > n // 3) & (np.arange(n) < n // 3 + 40))
    for column in gaps.values():
        if column.dtype == np.float64:
            column[absent] = math.nan
    return {
        "walk": walk,
        "constant": flat,
        "halted": halted,
        "zero volume": {**walk, "volume": np.zeros(n)},
        "tiny": {name: c * 1e-8 if name in POSITIVE else c for name, c in walk.items()},
        "huge": {name: c * 1e12 if name in (*POSITIVE, "volume") else c for name, c in walk.items()},
        "jumps": jumps,
        "gaps": gaps,
    }


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
        "score": change,
        "target": np.where(np.isnan(swing), math.nan, np.where(np.abs(swing) < 0.4, 0.0, np.clip(swing, -1.0, 1.0))),
        "volatility": np.abs(np.where(np.abs(swing) > 2.5, math.nan, change)),
    }


def _walk(n: int, rng: np.random.Generator) -> Columns:
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    return _bars(close, np.abs(rng.normal(0.0, 5e-4, n)), rng.lognormal(2.0, 1.0, n), rng)


def _bars(close: FloatArray, reach: FloatArray, volume: FloatArray, rng: np.random.Generator) -> Columns:
    before = np.roll(close, 1)
    before[0] = close[0]
    return {
        "ts": 1_700_000_000_000_000_000 // MINUTE_NS * MINUTE_NS + np.arange(close.size) * MINUTE_NS,
        "open": before,
        "high": np.maximum(before, close) * (1.0 + reach),
        "low": np.minimum(before, close) * (1.0 - reach),
        "close": close,
        "volume": volume,
    }


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
