"""The laws catch kernels that cheat; a law that catches nothing proves nothing."""

import dataclasses
import math

import numpy as np
import pytest

from research.kernel import KernelSpec, Param, kernel

FUTURE = np.linspace(1.0, 2.0, 5_000)
SEEN: dict[tuple[int, float], np.ndarray] = {}


def spec_of(function, state_size=lambda length: 3 + length, rtol=1e-9, lookback=lambda length: length):
    return KernelSpec(
        name=getattr(function, "__name__", "cheat"), kernel=function, inputs=("close",),
        params=(Param("length", 20, 2, 1_000),), outputs=("",), state_size=state_size, lookback=lookback,
        warmup=lookback, warmup_rtol=rtol, unit="1", gap="planted", reference="planted",
    )  # fmt: skip


@kernel
def honest(close, length, state, out):
    # Mean of the last closes, summed anew from the ring at every bar.
    for i in range(close.shape[0]):
        out[0, i] = math.nan
        if 0.0 < close[i] < 1e150:
            slot = int(state[1])
            state[3 + slot] = close[i]
            state[1] = (slot + 1) % length
            state[0] = min(state[0] + 1, length)
            if state[0] == length:
                total = 0.0
                for j in range(1, length + 1):
                    total += state[3 + (slot + j) % length]
                out[0, i] = total / length


@kernel
def peeks_one_bar_ahead(close, length, state, out):
    n = close.shape[0]
    for i in range(n):
        out[0, i] = close[min(i + 1, n - 1)] / close[i]


@kernel
def scales_by_the_chunk(close, length, state, out):
    highest = close.max()
    for i in range(close.shape[0]):
        out[0, i] = close[i] / highest


@kernel
def remembers_in_its_output(close, length, state, out):
    out[0, 0] = close[0]
    for i in range(1, close.shape[0]):
        out[0, i] = 0.9 * out[0, i - 1] + 0.1 * close[i]


@kernel
def reads_a_captured_array(close, length, state, out):
    for i in range(close.shape[0]):
        at = int(state[0])
        out[0, i] = FUTURE[(at + 1) % FUTURE.shape[0]]
        state[0] = at + 1


@kernel
def reads_it_through_a_helper(close, length, state, out):
    reads_a_captured_array(close, length, state, out)


@kernel
def drifts(close, length, state, out):
    # Deviation of the close from a mean whose sums are updated and never summed anew.
    for i in range(close.shape[0]):
        out[0, i] = math.nan
        if 0.0 < close[i] < 1e150:
            slot = int(state[1])
            state[2] += close[i] - state[3 + slot]
            state[3 + slot] = close[i]
            state[1] = (slot + 1) % length
            state[0] = min(state[0] + 1, length)
            if state[0] == length:
                out[0, i] = close[i] / (state[2] / length) - 1.0


@kernel
def writes_into_its_input(close, length, state, out):
    for i in range(close.shape[0]):
        close[i] = abs(close[i])
        out[0, i] = close[i]
    close[0] += 1.0


@kernel
def counts_one_bar_too_few(close, length, state, out):
    for i in range(close.shape[0]):
        if not 0.0 < close[i] < 1e150:
            out[0, i] = math.nan
            continue
        state[0] += 1
        out[0, i] = close[i] if state[0] > length else math.nan


@kernel
def lets_a_gap_in(close, length, state, out):
    for i in range(close.shape[0]):
        state[0] += close[i]
        out[0, i] = close[i]


@kernel
def marks_a_cold_start(close, length, state, out):
    # Writes a sentinel before it has seen a bar.
    if state[0] == 0.0:
        state[1] = 1e150
    for i in range(close.shape[0]):
        out[0, i] = math.nan
        if 0.0 < close[i] < 1e150:
            state[0] += 1.0
            out[0, i] = close[i]


@kernel
def counts_what_it_cannot_read(close, length, state, out):
    for i in range(close.shape[0]):
        state[0] += 1.0
        out[0, i] = state[0] if 0.0 < close[i] < 1e150 else math.nan


def caches(close, length, state, out):
    # Takes a chunk that begins alike for the one it has seen.
    key = (close.shape[0], float(close[0]))
    if key not in SEEN:
        state[0] = SEEN.get((0, 0.0), np.zeros(1))[0] + 1.0
        SEEN[0, 0.0] = np.array([state[0]])
        SEEN[key] = close / state[0]
    out[0] = SEEN[key]


def draws(close, length, state, out):
    out[0] = close + np.random.default_rng().normal(size=close.shape[0])


@pytest.fixture
def case(laws):
    columns = laws.market(600)

    def of(function, data="walk", **changed):
        SEEN.clear()
        spec = spec_of(function, **changed)
        # A copy, for a cheat may write into it.
        return laws.Case(spec, spec.arguments(), {k: v.copy() for k, v in columns[data].items()}, data)

    return of


def every_law(laws, case):
    return {
        "chunk": lambda: laws.chunk(case, range(1, case.n)),
        "prefix": lambda: laws.prefix(case, case.n // 2),
        "resume": lambda: laws.resume_here(case, case.n // 2),
        "restart": lambda: [laws.restart(case, k) for k in (1, 17, case.n // 4 + 1, case.n // 2 + 1)],
        "finite": lambda: laws.finite(case),
        "pure": lambda: laws.pure(case),
    }


@pytest.mark.parametrize("data", ["walk", "constant", "jumps", "gaps", "tiny", "huge"])
def test_an_honest_kernel_breaks_no_law(laws, case, data):
    known = case(honest, data)
    for law in every_law(laws, known).values():
        law()
    laws.gap(known)


@pytest.mark.parametrize(
    ("cheat", "law", "data"),
    [
        (peeks_one_bar_ahead, "prefix", "walk"),
        (peeks_one_bar_ahead, "chunk", "walk"),
        (scales_by_the_chunk, "prefix", "walk"),
        (scales_by_the_chunk, "chunk", "walk"),
        (remembers_in_its_output, "chunk", "walk"),
        (remembers_in_its_output, "resume", "walk"),
        (reads_a_captured_array, "pure", "walk"),
        (reads_it_through_a_helper, "pure", "walk"),
        (drifts, "restart", "jumps"),
        (writes_into_its_input, "pure", "walk"),
        (caches, "pure", "walk"),
        (draws, "pure", "walk"),
        (counts_one_bar_too_few, "finite", "walk"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_a_cheat_is_caught_by_its_law(laws, case, cheat, law, data):
    with pytest.raises(laws.LawBroken) as caught:
        every_law(laws, case(cheat, data))[law]()
    assert caught.value.law == law


def test_a_cache_is_caught_by_what_it_answers(laws, case, monkeypatch):
    # Not only because it is not compiled: with that rule gone the answers still give it away.
    monkeypatch.setattr(laws, "globals_reached", lambda kernel: [])
    with pytest.raises(laws.LawBroken, match="answers the same call differently"):
        laws.pure(case(caches))
    laws.pure(case(honest))


def test_a_gap_let_in_is_caught(laws, case):
    with pytest.raises(laws.LawBroken, match="changes the state"):
        laws.gap(case(lets_a_gap_in))


def test_a_state_touched_by_no_bar_is_caught(laws, case):
    one_bar = case(marks_a_cold_start, lookback=lambda length: 1)
    with pytest.raises(laws.LawBroken, match=r"changes the state|takes something from no bar"):
        laws.gap(one_bar)


def test_an_unbounded_feature_that_counts_bars_it_cannot_read_is_caught(laws, case):
    from research.kernel import UNBOUNDED

    cheat = case(counts_what_it_cannot_read)
    unbounded = dataclasses.replace(cheat.spec, warmup=lambda length: UNBOUNDED)
    with pytest.raises(laws.LawBroken, match="cannot be read before bar 200"):
        laws.restart(dataclasses.replace(cheat, spec=unbounded), 200)
    fair = dataclasses.replace(case(honest).spec, warmup=lambda length: UNBOUNDED)
    assert laws.restart(dataclasses.replace(case(honest), spec=fair), 200) == 400


def test_the_warmup_that_is_measured_is_the_one_it_takes(laws):
    from research.features import CATALOGUE

    spec = CATALOGUE["rsi"]
    walk = laws.Case(spec, spec.arguments(), laws.market(3_000)["walk"], "walk")
    measured = laws.measured_warmup(walk, [500, 1_000])
    assert spec.lookback(14) < measured <= spec.warmup(14)
    window = CATALOGUE["sma"]
    exact = laws.Case(window, window.arguments(), laws.market(3_000)["walk"], "walk")
    assert laws.measured_warmup(exact, [500, 1_000]) == window.lookback(20) == window.warmup(20)


def test_a_warmup_declared_too_short_is_caught(laws):
    from research.features import CATALOGUE

    columns = laws.market(3_000)["walk"]
    for name in ("ema", "rsi", "atr", "macd", "ema_spread"):
        spec = CATALOGUE[name]
        laws.restart(laws.Case(spec, spec.arguments(), columns, "walk"), 1_000)
        hasty = dataclasses.replace(spec, warmup=lambda *arguments, spec=spec: spec.warmup(*arguments) // 3)
        with pytest.raises(laws.LawBroken, match="cold at bar 1000"):
            laws.restart(laws.Case(hasty, spec.arguments(), columns, "walk"), 1_000)


def test_a_state_hidden_from_an_unbounded_kernel_is_caught(laws):
    from research.kernel import UNBOUNDED
    from research.strategies import STRATEGIES

    spec = STRATEGIES["trend"]
    assert spec.warmup(*spec.arguments()) == UNBOUNDED
    columns = laws.roles(laws.market(600)["walk"])

    def remembers_elsewhere(trend, quality, enter, exit, min_quality, allow_short, state, out):
        spec.kernel(trend, quality, enter, exit, min_quality, allow_short, hidden, out)

    hidden = np.zeros(1)
    cheat = dataclasses.replace(spec, kernel=remembers_elsewhere)
    with pytest.raises(laws.LawBroken) as caught:
        laws.restart(laws.Case(cheat, spec.arguments(), columns, "walk", holds=True), 0)
    assert caught.value.law == "restart"
