"""Parameters against the registries: every name and value that a later stage would refuse. It runs no stage.

:mod:`pipelines.run` calls :func:`check_params` before the first stage; under DVC stage ``search``, the first that
reads candidates, calls :func:`check_candidates` before it does any work. Stage ``ingest`` could refuse 10 s earlier in
a build from nothing, but it would then depend on the sections and the code of all of these, and make the market anew
(4.4 s) at every change of a strategy's parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.desk import candidates, costs, policy_spec
from pipelines.features import feature_set
from pipelines.params import Params
from research.errors import InvalidInput
from research.features import FeatureSet
from research.market.bars import NS_PER_DAY, interval_ns
from research.policy import DecisionRule
from research.risk import SIZERS
from research.search.candidates import middle
from research.search.desk import Candidate
from research.search.space import Choices, Space, Span
from research.strategies import STRATEGIES


def check_params(params: Params) -> None:
    """Refuse parameters that any stage would refuse later on.

    Raises
    ------
    InvalidInput
        As :func:`check_candidates`, and where walk-forward windows do not fit beside the features' lookback.
    """
    check_candidates(params)
    _check_lookback(params, feature_set(params))


def check_candidates(params: Params) -> None:
    """Refuse candidates that a search could not trade at every point of their space.

    Looked at are features, sizer, costs, and of each candidate its strategy, inputs, fixed parameters and space, at
    every end and choice of it.

    Raises
    ------
    InvalidInput
        Naming the key of the parameter file.
    """
    columns = feature_set(params).columns
    costs(params)
    _check_sizer(params, columns)
    for candidate in candidates(params):
        _check_candidate(params, candidate, columns)


def _check_lookback(params: Params, features: FeatureSet) -> None:
    """Refuse walk-forward windows that do not fit once the features are known, where the days are."""
    if params.ingest.days is None:
        return
    lost = features.lookback * interval_ns(params.market.decision_interval) / NS_PER_DAY
    left, rolled = params.ingest.days - params.backtest.holdout_days - lost, params.walk_forward
    if rolled.train_days + rolled.test_days > left:
        rule = f"and test_days must fit into the {left:.2f} days between the features' lookback and the hold-out"
        raise InvalidInput("walk_forward.train_days", rule, [rolled.train_days, rolled.test_days])


def _check_sizer(params: Params, columns: list[str]) -> None:
    search = params.search
    if search.sizer not in SIZERS:
        raise InvalidInput("search.sizer", f"must be one of {', '.join(SIZERS)}", search.sizer)
    if search.volatility not in columns:
        raise InvalidInput("search.volatility", f"must be a feature column ({', '.join(columns)})", search.volatility)
    sizer = SIZERS[search.sizer]
    with _named("search.sizer_params"):
        arguments = dict(zip((p.name for p in sizer.params), sizer.arguments(search.sizer_params), strict=True))
    exposure, limit = arguments.get("max_exposure", 0.0), params.costs.max_leverage
    if exposure > limit:  # also where it is the sizer's own default
        raise InvalidInput(
            "search.sizer_params.max_exposure", f"must not exceed costs.max_leverage {limit:g}", exposure
        )


def _check_candidate(params: Params, candidate: Candidate, columns: list[str]) -> None:
    key = f"search.candidates.{candidate.name}"
    if candidate.strategy not in STRATEGIES:
        raise InvalidInput(f"{key}.strategy", f"must be one of {', '.join(STRATEGIES)}", candidate.strategy)
    strategy = STRATEGIES[candidate.strategy]
    _check_inputs(f"{key}.inputs", candidate, columns)
    with _named(key):
        space = Space.from_dict(candidate.space)
    twice = sorted(set(candidate.params) & set(candidate.space))
    if twice:
        raise InvalidInput(f"{key}.space.{twice[0]}", "must not be fixed in params as well", candidate.params[twice[0]])
    with _named(f"{key}.params"):
        strategy.arguments(candidate.params)
    whole = {p.name for p in strategy.params if isinstance(p.default, int)}
    for name, axis in space.axes.items():
        with _named(f"{key}.space.{name}"):
            for value in axis.values if isinstance(axis, Choices) else (axis.low, axis.high):
                strategy.arguments({name: value})
        if isinstance(axis, Span) and name in whole and not axis.is_integer:  # ends may be whole, what lies between not
            raise InvalidInput(f"{key}.space.{name}", "must be of whole numbers, written so", [axis.low, axis.high])
    with _named(key):
        DecisionRule(policy_spec(params, candidate, middle(candidate.space)), columns)


def _check_inputs(key: str, candidate: Candidate, columns: list[str]) -> None:
    roles = STRATEGIES[candidate.strategy].inputs
    for role, column in candidate.inputs.items():
        if role not in roles:
            raise InvalidInput(f"{key}.{role}", f"is not an input of {candidate.strategy} ({', '.join(roles)})", column)
        if column != "score" and column not in columns:
            raise InvalidInput(f"{key}.{role}", f"must be score or a feature column ({', '.join(columns)})", column)
    missing = [role for role in roles if role not in candidate.inputs]
    if missing:
        raise InvalidInput(f"{key}.{missing[0]}", f"is required by {candidate.strategy}")


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Put the key of the parameter file before the subject of an error from below."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error.subject}", error.rule, error.received) from error
