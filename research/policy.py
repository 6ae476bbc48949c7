"""From bars to sized exposures as one resumable object: features, predictor, strategy, sizer. It holds no money.

Research pushes blocks through it, live pushes one bar; both run the same compiled kernels in the same order.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from research.errors import FingerprintMismatch, InvalidInput
from research.execution.account import Account
from research.execution.costs import Costs
from research.execution.engine import advance
from research.execution.faults import first_fault
from research.execution.margin import Margin
from research.execution.portfolio import Portfolio
from research.execution.rules import rules_of
from research.features.feature_set import FeatureSet
from research.features.feature_stream import FeatureStream
from research.features.timeframes import Timeframe
from research.kernel import FloatArray, IntArray, KernelSpec, code_hash
from research.market.bars import interval_ns
from research.market.resample import Resampler, resample_bars
from research.predictor import Predictor
from research.risk import SIZERS, Exits
from research.strategies import STRATEGIES

BAR_INPUTS = ("open", "high", "low", "close", "volume", "turnover", "trade_count", "taker_buy_volume")
_MAGIC = b"policy/2"


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What a policy is made of, in plain values that a manifest can hold.

    Parameters
    ----------
    base_interval, decision_interval : str
        Clock of the bars pushed and of the decisions; the second is a multiple of the first.
    features : mapping
        A :class:`~research.features.FeatureSet` specification.
    strategy, sizer : str
        Keys of ``STRATEGIES`` and ``SIZERS``.
    strategy_params, sizer_params : mapping
        Their parameters.
    strategy_inputs : mapping
        Strategy input role to feature column, or to ``"score"`` for the predictor's output.
    volatility : str
        Feature column that the sizer reads; empty for one that reads none.
    """

    base_interval: str
    decision_interval: str
    features: Mapping[str, Mapping[str, Any]]
    strategy: str
    strategy_inputs: Mapping[str, str]
    sizer: str
    volatility: str = ""
    strategy_params: Mapping[str, Any] = field(default_factory=dict)
    sizer_params: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-ready values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PolicySpec:
        """Return the specification held by ``values``; an unknown key is refused."""
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(values) - known)
        if unknown:
            raise InvalidInput(f"policy.{unknown[0]}", f"is not a field (known: {', '.join(sorted(known))})")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of one chunk, one row per decision bar that closed in it.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time of the decision bar, ns UTC.
    index : (n,) array of int64
        Row of the chunk at whose close the decision was made.
    features : (n, n_features) array of float64
        In the order of the feature set's columns; NaN before warm-up.
    score, target, exposure : (n,) array of float64
        Predictor output (NaN where it has none), strategy target in [-1, 1], exposure as a share of equity.
    """

    ts: IntArray
    index: IntArray
    features: FloatArray
    score: FloatArray
    target: FloatArray
    exposure: FloatArray

    def exposures_per_bar(self, n_bars: int) -> FloatArray:
        """Return the exposure decided at each bar's close, NaN where no decision was made."""
        per_bar = np.full(n_bars, np.nan)
        per_bar[self.index] = self.exposure
        return per_bar


class DecisionRule:
    """Strategy and sizer over a feature table: the part of a policy that a search varies.

    Parameters
    ----------
    spec : PolicySpec
        Only the strategy and sizer fields are read.
    columns : list of str
        Columns of the feature matrix.
    """

    def __init__(self, spec: PolicySpec, columns: list[str]) -> None:
        self.strategy = _registered(STRATEGIES, spec.strategy, "strategy")
        self.sizer = _registered(SIZERS, spec.sizer, "sizer")
        self._strategy_arguments = self.strategy.arguments(spec.strategy_params)
        self._sizer_arguments = self.sizer.arguments(spec.sizer_params)
        self._roles = [_column(spec.strategy_inputs, role, columns) for role in self.strategy.inputs]
        self._volatility = -1
        if "volatility" in self.sizer.inputs:
            self._volatility = _column({"volatility": spec.volatility}, "volatility", columns)
        self.needs_score = -1 in self._roles
        self.reset()

    def reset(self) -> None:
        """Forget everything seen."""
        self.strategy_state = self.strategy.initial_state(self._strategy_arguments)
        self.sizer_state = self.sizer.initial_state(self._sizer_arguments)

    def decide(self, features: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return (target, exposure) of each row and advance the state.

        Parameters
        ----------
        features : (n, n_features) array
            In the order of ``columns``.
        score : (n,) array
            Predictor output.
        """
        return self.decide_columns(np.ascontiguousarray(features.T), score)

    def decide_columns(self, columns: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return (target, exposure) of each row of features that lie column by column, and advance the state.

        Parameters
        ----------
        columns : (n_features, n) array
            In the order of ``columns``.
        score : (n,) array
            Predictor output.
        """
        inputs = [score if i < 0 else columns[i] for i in self._roles]
        target = self.strategy.run(inputs, self._strategy_arguments, self.strategy_state)[0]
        given = [target]
        if self._volatility >= 0:
            given.append(columns[self._volatility])
        exposure = self.sizer.run(given, self._sizer_arguments, self.sizer_state)[0]
        return target, exposure


class Policy:
    """Bars in, exposures out.

    Parameters
    ----------
    spec : PolicySpec
        What it is made of.
    predictor : Predictor
        Scores a row of features; ``Predictor.none()`` for a pure rule.

    Raises
    ------
    InvalidInput
        If a name is not registered, an input has no column, or the predictor expects other columns.
    """

    def __init__(self, spec: PolicySpec, predictor: Predictor) -> None:
        self.spec, self.predictor = spec, predictor
        self.feature_set = FeatureSet(spec.features, timeframe=spec.decision_interval)
        absent = [name for name in self.feature_set.inputs if name not in ("ts", *BAR_INPUTS)]
        if absent:
            rule = f"must come from the bars of the traded symbol ({', '.join(BAR_INPUTS)})"
            raise InvalidInput("policy.features", rule, absent)
        self.columns = self.feature_set.columns
        self._base_ns, self._decision_ns = interval_ns(spec.base_interval), interval_ns(spec.decision_interval)
        if self._decision_ns % self._base_ns:
            raise InvalidInput(
                "policy.decision_interval", f"must be a multiple of {spec.base_interval}", spec.decision_interval
            )
        self._resampler = (
            None if self._base_ns == self._decision_ns else Resampler(spec.base_interval, spec.decision_interval)
        )
        self.rule = DecisionRule(spec, self.columns)
        if self.rule.needs_score and list(predictor.columns) != self.columns:
            raise InvalidInput("predictor.columns", f"must equal the feature columns {self.columns}", predictor.columns)
        self._stream = self.feature_set.stream()
        none, empty = np.empty(0, dtype=np.int64), np.empty(0)
        self._nothing = Decisions(none, none, np.empty((0, len(self.columns))), empty, empty, empty)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the specification, the predictor and the code of all that stands on a bar's way to a fill.

        Features, strategies and sizers that this policy does not use are left out: adding one refuses no bundle.
        """
        named = {**self.spec.to_dict(), "features": self.feature_set.fingerprint, "predictor": self.predictor.sha256}
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode())
        kernels: list[Any] = [self.rule.strategy.kernel, self.rule.sizer.kernel, resample_bars, advance, first_fault]
        # What stands between the kernels is Python, and decides as well: order of columns, lots, leverage, scores.
        between = [
            inspect.getfile(part)
            for part in (
                Policy,
                Predictor,
                FeatureStream,
                Timeframe,
                Resampler,
                Account,
                Portfolio,
                rules_of,
                Costs,
                Margin,
                Exits,
            )
        ]
        digest.update(code_hash(kernels, between).encode())
        return digest.hexdigest()

    def push(self, ts: IntArray, columns: Mapping[str, FloatArray]) -> Decisions:
        """Consume closed base bars and return the decisions made at their closes.

        Parameters
        ----------
        ts : (n,) array of int64
            Open times, ns UTC, on the base clock and following those already pushed.
        columns : mapping of str to (n,) array of float64
            :data:`BAR_INPUTS` of the bars, NaN where a bar is absent.
        """
        if self._resampler is None:
            closed_ts, closed = ts, dict(columns)
        else:
            closed_ts, closed = self._resampler.push_arrays(ts, columns)
        if not closed_ts.size:  # four bars in five: nothing closed, nothing changes
            return self._nothing
        index = (closed_ts + self._decision_ns - self._base_ns - ts[0]) // self._base_ns
        features = np.ascontiguousarray(self._stream.push_arrays({**closed, "ts": closed_ts}).T)
        score = self.predictor.predict(features) if self.rule.needs_score else np.full(closed_ts.size, np.nan)
        target, exposure = self.rule.decide(features, score)
        return Decisions(closed_ts, index, features, score, target, exposure)

    def snapshot(self) -> bytes:
        """Return all that the policy remembers, with the fingerprint of the code that made it and a checksum."""
        parts = [
            bytes.fromhex(self.fingerprint),
            b"" if self._resampler is None else self._resampler.snapshot(),
            self._stream.snapshot(),
            self.rule.strategy_state.tobytes(),
            self.rule.sizer_state.tobytes(),
        ]
        body = b"".join(struct.pack("<q", len(part)) + part for part in parts)
        return _MAGIC + struct.pack("<I", zlib.crc32(body)) + body

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot; where it is refused, the policy is as it was.

        Raises
        ------
        FingerprintMismatch
            If another policy, or other kernel code, made it.
        InvalidInput
            If the bytes are not a whole, unaltered policy snapshot.
        """
        parts = _unpack(blob)
        if parts[0].hex() != self.fingerprint:
            made, here = parts[0].hex()[:12], self.fingerprint[:12]
            raise FingerprintMismatch(f"policy snapshot was made by {made}, this is {here}")
        fresh = Policy(self.spec, self.predictor)
        if fresh._resampler is not None:
            fresh._resampler.restore(parts[1])
        fresh._stream.restore(parts[2])
        fresh.rule.strategy_state = _state(parts[3], fresh.rule.strategy_state)
        fresh.rule.sizer_state = _state(parts[4], fresh.rule.sizer_state)
        self._resampler, self._stream, self.rule = fresh._resampler, fresh._stream, fresh.rule


def _unpack(blob: bytes) -> list[bytes]:
    """Return the five parts of a snapshot, checked."""
    header = len(_MAGIC) + 4
    if not blob.startswith(_MAGIC) or len(blob) < header:
        raise InvalidInput("policy snapshot", f"must begin with {_MAGIC!r}", blob[: len(_MAGIC)])
    body = blob[header:]
    if struct.unpack("<I", blob[len(_MAGIC) : header])[0] != zlib.crc32(body):
        raise InvalidInput("policy snapshot", "must match its checksum: it was cut or altered; bytes", len(blob))
    parts, at = [], 0
    while at < len(body):
        (size,) = struct.unpack_from("<q", body, at)
        parts.append(body[at + 8 : at + 8 + size])
        at += 8 + size
    return parts


def _state(part: bytes, like: FloatArray) -> FloatArray:
    if len(part) != like.nbytes:
        raise InvalidInput("policy snapshot", f"must hold a state of {like.nbytes} bytes", len(part))
    return np.frombuffer(part, dtype=np.float64).copy()


def _registered(registry: Mapping[str, KernelSpec], name: str, subject: str) -> KernelSpec:
    if name not in registry:
        raise InvalidInput(f"policy.{subject}", f"must be one of {', '.join(registry)}", name)
    return registry[name]


def _column(inputs: Mapping[str, str], role: str, columns: list[str]) -> int:
    """Return the position of the column that plays a role; -1 is the predictor's score."""
    name = inputs.get(role, "score" if role == "score" else None)
    if name == "score":
        return -1
    if name not in columns:
        raise InvalidInput(f"policy input {role!r}", f"must be a feature column ({', '.join(columns)})", name)
    return columns.index(name)
