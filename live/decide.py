"""A closed bar in, an order intent out: a pure state machine around the policy. It reads no clock and does no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.kernel import FloatArray, IntArray
from research.policy import Decisions, Policy

_LEG = 0  # a policy of one instrument has one leg


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """A new target exposure, with the id under which its order may be sent any number of times.

    Parameters
    ----------
    client_id : str
        36 characters at most, made from bundle, symbol, decision time and leg: the same decision, the same id.
    decided_ns : int
        Close of the decision bar, ns UTC.
    exposure : float
        Signed share of equity.
    """

    client_id: str
    decided_ns: int
    exposure: float


class Decider:
    """Advances the policy bar by bar and says when the target exposure changes.

    Parameters
    ----------
    policy : Policy
        Warm.
    fingerprint, symbol : str
        Parts of the order ids.
    decision_ns : int
        Length of a decision bar.
    """

    def __init__(self, policy: Policy, fingerprint: str, symbol: str, decision_ns: int) -> None:
        self._policy, self._fingerprint, self._symbol, self._decision_ns = policy, fingerprint, symbol, decision_ns
        self._standing = 0.0

    def on_bar(self, ts: IntArray, columns: Mapping[str, FloatArray]) -> tuple[Decisions, OrderIntent | None]:
        """Consume closed bars; return the decisions made at their closes, and the last one's intent where it is new."""
        decisions = self._policy.push(ts, columns)
        if not decisions.ts.size or decisions.exposure[-1] == self._standing:
            return decisions, None
        self._standing = float(decisions.exposure[-1])
        decided = int(decisions.ts[-1]) + self._decision_ns
        return decisions, OrderIntent(self._client_id(decided), decided, self._standing)

    def _client_id(self, decided_ns: int) -> str:
        text = f"{self._fingerprint}|{self._symbol}|{decided_ns}|{_LEG}"
        return "px" + hashlib.sha256(text.encode()).hexdigest()[:32]


def decision_event(decisions: Decisions) -> dict[str, Any]:
    """Return the last decision of a chunk as the journal holds it."""
    return {
        "ts": int(decisions.ts[-1]),
        "score": float(decisions.score[-1]),
        "target": float(decisions.target[-1]),
        "exposure": float(decisions.exposure[-1]),
    }
