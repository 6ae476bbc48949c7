"""Every combination that was ever evaluated, with its daily returns, in frames. It reads and writes no file.

The best of many trials is believed as if it were the only one unless all of them are counted: those of sweeps, of
searches, of a notebook, and those that failed. A trial is what decides its outcome: strategy, parameters, data, window
and costs. Evaluated twice it is one trial that was looked at twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput, SchemaMismatch
from research.kernel import FloatArray
from research.metrics.effective_trials import effective_trials
from research.metrics.returns import sharpe
from research.validation.trial_identity import canonical_json, content_hash, frames_hash, params_of

__all__ = ["SCHEMA", "SOURCES", "STATES", "Returns", "Study", "TrialLedger", "content_hash", "frames_hash", "params_of"]

# The better a trial went, the further to the right: of two looks at one trial the better state stays.
STATES = ("failed", "pruned", "complete")
SOURCES = ("sweep", "optuna", "deap", "manual")

# Returns as one list per trial. 2,000 trials of 365 days, zstd: 4.9 MB, written in 97 ms and read in 42, whether lists
# or fixed arrays; a column per day takes the same room and is read in 14 ms, but holds one window alone; a column per
# trial takes 5.4 MB and 154 ms. Half the room as float32, but then a ledger's Sharpe ratios are not the search's.
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "trial_id": pl.String, "study": pl.String, "strategy": pl.String, "data_hash": pl.String, "window": pl.String,
    "costs_hash": pl.String, "params": pl.String, "source": pl.String, "state": pl.String, "looks": pl.Int64,
    "differs": pl.Boolean, "order": pl.Int64, "sharpe_day": pl.Float64, "days": pl.Int64, "first_day": pl.Date,
    "returns": pl.List(pl.Float64),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """What trials that compete with each other have in common.

    Parameters
    ----------
    strategy : str
        Strategy or candidate.
    data_hash : str
        Of everything that it was traded on; see :func:`frames_hash`.
    window : str
        Days on which it was evaluated, ``2024-01-01/2024-06-30`` or any name that says so.

    Raises
    ------
    InvalidInput
        If one of them is empty.
    """

    strategy: str
    data_hash: str
    window: str

    def __post_init__(self) -> None:
        for name in ("strategy", "data_hash", "window"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InvalidInput(f"study.{name}", "must be a name", value)

    @property
    def id(self) -> str:
        """Hash of the three, 16 hexadecimal digits."""
        return content_hash(self)[:16]


class Returns(NamedTuple):
    """Daily returns of trials side by side.

    Parameters
    ----------
    trial_ids : tuple of str
    days : (n,) array of datetime64[D]
        UTC days that all of them have.
    values : (n, n_trials) array
        Simple returns, finite.
    """

    trial_ids: tuple[str, ...]
    days: np.ndarray
    values: FloatArray


class TrialLedger:
    """Trials by what they are, in the order in which they were first told.

    Parameters
    ----------
    frame : polars.DataFrame, optional
        Rows of :data:`SCHEMA`, as :attr:`frame` gives them; default none. A trial in it twice is told twice.

    Raises
    ------
    SchemaMismatch
        If a column is missing, unknown or of another type.

    Examples
    --------
    >>> ledger = TrialLedger()
    >>> study = Study("trend", "3f2a", "2024-01-01/2024-01-03")
    >>> days = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
    >>> first = ledger.add(study, {"length": 5}, source="manual", returns=[0.01, -0.02, 0.03], days=days)
    >>> again = ledger.add(study, {"length": 5.0}, source="manual", returns=[0.01, -0.02, 0.03], days=days)
    >>> failed = ledger.add(study, {"length": 1}, source="manual", state="failed")
    >>> first == again, ledger.count(), ledger.looks(), ledger.returns_matrix().values.shape
    (True, 2, 3, (3, 1))
    """

    def __init__(self, frame: pl.DataFrame | None = None) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        if frame is not None:
            if dict(frame.schema) != dict(pl.Schema(SCHEMA)):
                raise SchemaMismatch("ledger", f"must have the columns {', '.join(SCHEMA)}", dict(frame.schema))
            ordered = frame.sort("order", maintain_order=True)
            # Not as Python lists: 2,000 trials of 365 days took 190 ms that way.
            told = ordered["returns"].drop_nulls()
            edges = np.cumsum(told.list.len().to_numpy().astype(np.int64))[:-1]
            series = iter(np.split(told.explode(empty_as_null=False).to_numpy(), edges) if told.len() else [])
            for row, has in zip(
                ordered.drop("returns").iter_rows(named=True), ordered["returns"].is_not_null(), strict=True
            ):
                self._tell(row | {"returns": next(series) if has else None})

    # ----------------------------------------------------------------- in
    def add(
        self,
        study: Study,
        params: Mapping[str, Any],
        *,
        source: str,
        state: str = "complete",
        costs: object = None,
        returns: ArrayLike | None = None,
        days: ArrayLike | pl.Series | None = None,
    ) -> str:
        """Tell a trial, or another look at it.

        Parameters
        ----------
        study : Study
        params : mapping
            Everything that was set, defaults included if they may change; plain values.
        source : str
            One of :data:`SOURCES`; that of the first look stays.
        state : str
            One of :data:`STATES`.
        costs : object, optional
            What :func:`content_hash` takes: costs, latency and whatever else of the account decides the outcome.
        returns : (n,) array_like, optional
            Simple returns of each day, finite. A trial without counts, but is in no matrix.
        days : (n,) array_like or Series of dates, optional
            Their UTC days, increasing; required with ``returns``.

        Returns
        -------
        str
            ``trial_id``: hash of strategy, params, data, window and costs, 32 hexadecimal digits.

        Raises
        ------
        InvalidInput
            If a word is unknown, a value is not plain, returns are not finite, or days are not theirs or do not
            increase.
        """
        for name, value, known in (("source", source, SOURCES), ("state", state, STATES)):
            if value not in known:
                raise InvalidInput(f"trial.{name}", f"must be one of {', '.join(known)}", value)
        given, costs_hash = canonical_json(dict(params)), content_hash(costs)[:16]
        identity = [study.strategy, json.loads(given), study.data_hash, study.window, costs_hash]
        row: dict[str, Any] = {
            "trial_id": content_hash(identity)[:32], "study": study.id, **asdict(study), "costs_hash": costs_hash,
            "params": given, "source": source, "state": state, "looks": 1, "differs": False, "sharpe_day": math.nan,
            "days": 0, "first_day": None, "returns": None,
        }  # fmt: skip
        if returns is not None:
            values, dates = _series(returns, days)
            row |= {"sharpe_day": sharpe(values, 1.0) if values.size else math.nan, "days": values.size}
            if values.size:
                row |= {"first_day": dates[0].item(), "returns": _dense(values, dates)}
        self._tell(row)
        return str(row["trial_id"])

    def add_table(
        self,
        study: Study,
        params: Sequence[Mapping[str, Any]],
        *,
        source: str,
        states: Sequence[str] | None = None,
        costs: object = None,
        returns: pl.DataFrame | None = None,
    ) -> list[str]:
        """Tell all trials of a search or sweep.

        Parameters
        ----------
        study, source, costs
            As :meth:`add` takes them.
        params : sequence of mapping
            Of each trial; see :func:`params_of`.
        states : sequence of str, optional
            Default: all complete.
        returns : polars.DataFrame, optional
            ``day`` and one column for each trial, named by its number: ``daily`` of a sweep, ``returns`` of
            :func:`research.search.candidates.choose`. A column that is absent is a trial without returns.

        Returns
        -------
        list of str
            ``trial_id`` of each.

        Raises
        ------
        InvalidInput
            As :meth:`add`, or if there are not as many states as trials. Nothing has been told then.
        """
        if states is not None and len(states) != len(params):
            raise InvalidInput("states", f"must be {len(params)}, one for each trial", len(states))
        told = TrialLedger()
        found = []
        for k, given in enumerate(params):
            has = returns is not None and str(k) in returns.columns
            found.append(
                told.add(
                    study, given, source=source, state="complete" if states is None else states[k], costs=costs,
                    returns=returns[str(k)].to_numpy() if has and returns is not None else None,
                    days=returns["day"] if has and returns is not None else None,
                )
            )  # fmt: skip
        for row in told._rows.values():
            self._tell(row)
        return found

    def merge(self, *others: TrialLedger) -> TrialLedger:
        """Return a ledger of everything that this one and others were told, in that order.

        Looks add up: merge records that were told apart, not the same record twice.
        """
        found = TrialLedger()
        for ledger in (self, *others):
            for row in ledger._rows.values():
                found._tell(row)
        return found

    def _tell(self, row: Mapping[str, Any]) -> None:
        self.__dict__.pop("frame", None)
        held = self._rows.get(row["trial_id"])
        if held is None:
            self._rows[row["trial_id"]] = {**row, "order": len(self._rows)}
            return
        held["looks"] += row["looks"]
        held["differs"] = held["differs"] or row["differs"] or _differ(held, row)
        is_better = STATES.index(row["state"]) > STATES.index(held["state"])
        is_fuller = row["state"] == held["state"] and held["returns"] is None and row["returns"] is not None
        if is_better or is_fuller:
            held.update({name: row[name] for name in ("state", "sharpe_day", "days", "first_day", "returns")})

    # ----------------------------------------------------------------- out
    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row per trial, the columns of :data:`SCHEMA`.

        ``params`` is canonical JSON; ``looks`` how often it was evaluated; ``differs`` whether two looks came to other
        returns, so that the trial's name leaves something out that decides it; ``sharpe_day`` per day, NaN where it
        does not exist; ``returns`` from ``first_day`` on, day by day, NaN on days that are not of the window, null
        where none were told; ``days`` those that are.
        """
        rows = [
            row | {"returns": None if row["returns"] is None else row["returns"].tolist()}
            for row in self._rows.values()
        ]
        return pl.DataFrame(rows, schema=SCHEMA)

    def select(
        self,
        *,
        strategy: str | None = None,
        window: str | None = None,
        data_hash: str | None = None,
        data_prefix: str = "",
    ) -> TrialLedger:
        """Return the trials of a strategy, a window, data, or all three; of data also by how their name begins."""
        wanted = {"strategy": strategy, "window": window, "data_hash": data_hash}
        found = TrialLedger()
        for row in self._rows.values():
            is_wanted = all(value is None or row[name] == value for name, value in wanted.items())
            if is_wanted and row["data_hash"].startswith(data_prefix):
                found._tell(row)
        return found

    def count(self, window: str | None = None) -> int:
        """Return the number of distinct trials, failed and pruned ones included: what deflates a Sharpe ratio."""
        return len(self._of(window))

    def looks(self, window: str | None = None) -> int:
        """Return how often trials were evaluated."""
        return sum(row["looks"] for row in self._of(window))

    def returns_matrix(self, window: str | None = None) -> Returns:
        """Return the daily returns of all complete trials on the days that they share.

        Raises
        ------
        InvalidInput
            If no complete trial of the window has returns, or they share no day.
        """
        rows = [row for row in self._of(window) if row["state"] == "complete" and row["returns"] is not None]
        if not rows:
            raise InvalidInput("ledger", "must have a complete trial with returns", window)
        firsts = np.array([row["first_day"] for row in rows], dtype="datetime64[D]")
        ends = firsts + np.array([row["returns"].size for row in rows])
        first, last = firsts.max(), ends.min()
        if last <= first:
            raise InvalidInput("ledger", "must hold trials that share days: select a window", window)
        length = int((last - first).astype(int))
        values = np.empty((length, len(rows)))
        for k, row in enumerate(rows):
            begin = int((first - firsts[k]).astype(int))
            values[:, k] = row["returns"][begin : begin + length]
        shared = ~np.isnan(values).any(axis=1)
        if not shared.any():
            raise InvalidInput("ledger", "must hold trials that share days: select a window", window)
        return Returns(tuple(row["trial_id"] for row in rows), (first + np.arange(length))[shared], values[shared])

    def sharpes(self, window: str | None = None) -> FloatArray:
        """Return the Sharpe ratios per day of the complete trials that have one, in order."""
        found = np.array([row["sharpe_day"] for row in self._of(window) if row["state"] == "complete"], np.float64)
        return found[np.isfinite(found)]

    def sharpe_variance(self, window: str | None = None) -> float:
        """Return the variance (``ddof=1``) of :meth:`sharpes`, NaN with fewer than two.

        It is the V of :func:`research.metrics.inference.deflated_sharpe_ratio`, per day.
        """
        found = self.sharpes(window)
        return float(found.var(ddof=1)) if found.size > 1 else math.nan

    def effective_number_of_trials(
        self, window: str | None = None, method: Callable[[FloatArray], float] | None = None
    ) -> float:
        """Return how many independent trials the ledger's are worth.

        Parameters
        ----------
        window : str, optional
        method : callable, optional
            Of a (days, trials) matrix of returns; by default ``by_spread`` of
            :func:`research.metrics.effective_trials.effective_trials`, which belongs to :meth:`sharpe_variance`.

        Returns
        -------
        float
            That of the complete trials with returns, in proportion for those that have none: a failed trial is taken to
            be as much like the others as they are. At most :meth:`count`; NaN where no trial varies.

        Raises
        ------
        InvalidInput
            As :meth:`returns_matrix`, or if fewer than two days are shared.
        """
        matrix = self.returns_matrix(window)
        found = effective_trials(matrix.values).by_spread if method is None else method(matrix.values)
        count = self.count(window)
        return min(float(found) * count / len(matrix.trial_ids), float(count)) if math.isfinite(found) else math.nan

    def _of(self, window: str | None) -> list[dict[str, Any]]:
        return [row for row in self._rows.values() if window is None or row["window"] == window]

    def __repr__(self) -> str:
        states = ", ".join(f"{sum(r['state'] == s for r in self._rows.values()):,} {s}" for s in reversed(STATES))
        return f"TrialLedger({self.count():,} trials, {self.looks():,} looks: {states})"


def _series(returns: ArrayLike, days: ArrayLike | pl.Series | None) -> tuple[FloatArray, np.ndarray]:
    values = np.array(returns, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InvalidInput("trial.returns", "must be a series of finite numbers", values.shape)
    if days is None:
        raise InvalidInput("trial.days", "are required with returns", None)
    dates = np.asarray(days.to_numpy() if isinstance(days, pl.Series) else days)
    if dates.size and dates.dtype.kind not in "MO":
        raise InvalidInput("trial.days", "must be dates", str(dates.dtype))
    dates = dates.astype("datetime64[D]")
    if dates.shape != values.shape or np.isnat(dates).any():
        raise InvalidInput("trial.days", f"must be {values.size}, one for each return", dates.shape)
    back = np.flatnonzero(np.diff(dates).astype(int) <= 0)
    if back.size:
        raise InvalidInput(
            f"trial.days[{back[0] + 1}]", "must be later than the day before it", str(dates[back[0] + 1])
        )
    return values, dates


def _dense(values: FloatArray, dates: np.ndarray) -> FloatArray:
    """Return returns day by day, NaN on the days between that have none."""
    place = (dates - dates[0]).astype(int)
    found = np.full(int(place[-1]) + 1, np.nan)
    found[place] = values
    return found


def _differ(held: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Return whether two looks at one trial, both complete, came to other returns."""
    if held["returns"] is None or row["returns"] is None or not held["state"] == row["state"] == "complete":
        return False
    same = held["first_day"] == row["first_day"] and np.array_equal(held["returns"], row["returns"], equal_nan=True)
    return not same
