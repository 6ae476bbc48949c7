"""One entry of a feature set: a feature, its parameters, and where each of its inputs comes from. It runs nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.errors import InvalidInput
from research.features.aliases import ALIASES
from research.features.inputs import BOUND, NONE, column_input, role_input
from research.kernel import UNBOUNDED, KernelSpec
from research.market.bars import INTERVALS

# What an entry may say besides the parameters of its kernel, and what each default is.
SETTINGS = ("timeframe", "symbol", "of", "reference", "basket", "series")
REFERENCE = "BTCUSDT"
BASKET = ("ETHUSDT", "SOLUSDT", "XRPUSDT")
OPERANDS = ("close", "volume")


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature of a set.

    Parameters
    ----------
    key : str
        Column, or first part of the columns.
    spec : KernelSpec
        From the catalogue.
    arguments : tuple
        Parameters in the kernel's order.
    settings : dict
        The :data:`SETTINGS` that apply to it, defaults filled in, ``timeframe`` and ``symbol`` only where given.
    sources : tuple
        One per input: the name of a column of the bars or of another entry, or a tuple of names for a basket.
    needs : tuple of str
        Those of the sources that are columns of other entries.
    """

    key: str
    spec: KernelSpec
    arguments: tuple[int | float, ...]
    settings: dict[str, Any]
    sources: tuple[str | tuple[str, ...], ...]
    needs: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of its output columns."""
        return self.spec.column_names(self.key)

    @property
    def params(self) -> dict[str, int | float]:
        """Parameters by name, defaults included."""
        return {param.name: given for param, given in zip(self.spec.params, self.arguments, strict=True)}

    @property
    def timeframe(self) -> str | None:
        """Interval of the bars it is computed on; None for those that are pushed."""
        return self.settings.get("timeframe")

    @property
    def bar_columns(self) -> tuple[str, ...]:
        """Columns of the bars that it reads."""
        flat = [name for source in self.sources for name in ([source] if isinstance(source, str) else source)]
        return tuple(name for name in flat if name not in self.needs)

    @property
    def merged(self) -> tuple[tuple[str, str, str], ...]:
        """Columns of the bars that it reads, ``ts`` apart: name, kind, and how a longer bar is made of them."""
        found: dict[tuple[str, str, str], None] = {}
        for role, source in zip(self.spec.inputs, self.sources, strict=True):
            for name in [source] if isinstance(source, str) else source:
                if name != "ts" and name not in self.needs:
                    told = role_input(role, name)
                    found[name, told.kind, told.merge] = None
        return tuple(sorted(found))

    @property
    def lookback(self) -> int:
        """Bars of its timeframe up to and including the first finite output, all that it reads being finite."""
        return self.spec.lookback(*self.arguments)

    @property
    def warmup(self) -> int:
        """Bars of its timeframe after a cold start until equal to the long-running value; ``UNBOUNDED`` if never."""
        return self.spec.warmup(*self.arguments)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in full: feature, settings and parameters; plain JSON types."""
        plain = {name: list(given) if isinstance(given, tuple) else given for name, given in self.settings.items()}
        return {"feature": self.spec.name, **plain, **self.params}


def entries_of(spec: Mapping[str, Mapping[str, object]], catalogue: Mapping[str, KernelSpec]) -> tuple[Entry, ...]:
    """Return the entries of a specification, checked.

    Raises
    ------
    InvalidInput
        If a feature, parameter or setting is unknown or wrong, two columns would have one name, or entries read each
        other in a circle.
    """
    specs = {key: _registered(key, given, catalogue) for key, given in spec.items()}
    owners: dict[str, str] = {}
    for key, kernel in specs.items():
        for column in kernel.column_names(key):
            if column in owners or column == "ts":
                raise InvalidInput(f"feature set column {column!r}", "must be the name of one output only")
            owners[column] = key
    entries = tuple(_entry(key, specs[key], spec[key], owners) for key in spec)
    _require_order(entries, owners)
    return entries


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries so that each comes after those whose columns it reads."""
    ordered: list[Entry] = []
    known: set[str] = set()
    waiting = list(entries)
    while waiting:
        ready = [entry for entry in waiting if known.issuperset(entry.needs)]
        if not ready:
            raise InvalidInput("feature set", "must not have entries that read each other", [e.key for e in waiting])
        ordered += ready
        known.update(column for entry in ready for column in entry.columns)
        waiting = [entry for entry in waiting if entry not in ready]
    return ordered


def total(entries: Sequence[Entry], of: str, ratio: Mapping[str | None, int]) -> dict[str, int]:
    """Return the lookback or warm-up of every entry in base bars, with what it waits for from others.

    Parameters
    ----------
    entries : sequence of Entry
        Of one set.
    of : str
        ``"lookback"`` or ``"warmup"``.
    ratio : mapping
        Base bars per bar of each timeframe.
    """
    found: dict[str, int] = {}
    owner = {column: entry for entry in entries for column in entry.columns}
    for entry in in_order(entries):
        own = getattr(entry, of)
        before = [(found[owner[name].key], owner[name].timeframe) for name in entry.needs]
        if own == UNBOUNDED or any(bars == UNBOUNDED for bars, _ in before):
            found[entry.key] = UNBOUNDED
            continue
        bars = ratio[entry.timeframe]
        # A stream that begins within a bar of a longer timeframe passes over the rest of it.
        alone = own * bars + (bars - 1)
        waits = [told + (own - 1) * bars for told, _ in before]
        found[entry.key] = max([alone, *waits])
    return found


def _registered(key: object, given: object, catalogue: Mapping[str, KernelSpec]) -> KernelSpec:
    if not isinstance(key, str) or not key:
        raise InvalidInput("feature set key", "must be the name of a column", key)
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{key}: parameters", "must be a mapping", given)
    name = given.get("feature", key)
    if not isinstance(name, str) or name not in catalogue:
        rule = f"must name a feature{suggestion(name, catalogue)}; `python -m research.features` lists them"
        raise InvalidInput(f"{key}: feature", rule, name)
    return catalogue[name]


def suggestion(name: object, catalogue: Mapping[str, KernelSpec]) -> str:
    """Return the features that may have been meant by a name that is none, in words; nothing if there are none."""
    said = str(name).lower().replace(" ", "_").replace("-", "_")
    near = ALIASES.get(said) or tuple(difflib.get_close_matches(said, catalogue, n=3))
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _entry(key: str, spec: KernelSpec, given: Mapping[str, object], owners: Mapping[str, str]) -> Entry:
    try:
        arguments = spec.arguments({k: v for k, v in given.items() if k != "feature" and k not in SETTINGS})
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error.subject}", error.rule, error.received) from error
    settings = _settings(key, spec, {k: given[k] for k in SETTINGS if k in given})
    symbol = settings.get("symbol")
    needs: list[str] = []
    sources: list[str | tuple[str, ...]] = []
    for role in spec.inputs:
        name, _, column = role.partition(".")
        if role in ("value", "other"):
            chosen = settings["of"] if "other" not in spec.inputs else settings["of"][role == "other"]
            source, is_output = _chosen(key, chosen, symbol, owners)
            sources.append(source)
            needs += [source] if is_output else []
        elif name == "reference":
            sources.append(f"{settings['reference']}.{column}")
        elif name == "basket":
            sources.append(tuple(f"{member}.{column}" for member in settings["basket"]))
        elif name == "series":
            sources.append(role.replace("series", settings["series"], 1))
        else:
            sources.append(role if symbol is None or role == "ts" else f"{symbol}.{role}")
    entry = Entry(key, spec, arguments, settings, tuple(sources), tuple(dict.fromkeys(needs)))
    if "timeframe" in settings:
        if set(spec.inputs) == {"ts"}:
            raise InvalidInput(f"{key}.timeframe", f"has no meaning: {spec.name} reads the time alone", entry.timeframe)
        unmerged = [name for name, _, merge in entry.merged if merge == NONE]
        if unmerged:
            rule = f"must be that of the bars: longer ones have no {unmerged[0]} but what their trades tell"
            raise InvalidInput(f"{key}.timeframe", rule, entry.timeframe)
    return entry


def _chosen(key: str, chosen: str, symbol: str | None, owners: Mapping[str, str]) -> tuple[str, bool]:
    """Return the column that ``of`` names, and whether it is one of another entry."""
    if owners.get(chosen) not in (None, key):
        if "." not in chosen and column_input(chosen) is not None:
            rule = "must name one thing, not both a column of the bars and one of the set"
            raise InvalidInput(f"{key}.of", rule, chosen)
        if symbol is not None:
            raise InvalidInput(f"{key}.symbol", "has no meaning for a column of another entry", symbol)
        return chosen, True
    if chosen == "ts" or column_input(chosen) is None:
        others = ", ".join(column for column in owners if owners[column] != key) or "none"
        rule = f"must name a column of the bars ({', '.join(OPERANDS)} …) or of another entry ({others})"
        raise InvalidInput(f"{key}.of", rule, chosen)
    if symbol is not None and "." in chosen:
        raise InvalidInput(f"{key}.symbol", f"has no meaning: {chosen} names a symbol itself", symbol)
    return (chosen if symbol is None else f"{symbol}.{chosen}"), False


def _settings(key: str, spec: KernelSpec, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings that apply to a feature, checked, with defaults filled in."""
    roles = {role.partition(".")[0] for role in spec.inputs}
    settings: dict[str, Any] = {}
    if "timeframe" in given:
        if not isinstance(given["timeframe"], str) or given["timeframe"] not in INTERVALS:
            raise InvalidInput(f"{key}.timeframe", f"must be one of {', '.join(INTERVALS)}", given["timeframe"])
        settings["timeframe"] = given["timeframe"]
    if "symbol" in given:
        if roles <= {"ts", *BOUND} - {"value", "other"}:
            raise InvalidInput(
                f"{key}.symbol", f"has no meaning: {spec.name} reads {', '.join(spec.inputs)}", given["symbol"]
            )
        settings["symbol"] = _name(f"{key}.symbol", given["symbol"])
    for name, role, default in (
        ("of", "value", list(OPERANDS) if "other" in roles else OPERANDS[0]),
        ("reference", "reference", REFERENCE),
        ("basket", "basket", list(BASKET)),
        ("series", "series", key),
    ):
        if role not in roles:
            if name in given:
                raise InvalidInput(
                    f"{key}.{name}", f"has no meaning: {spec.name} reads {', '.join(spec.inputs)}", given[name]
                )
            continue
        chosen = given.get(name, default)
        if name == "basket" or (name == "of" and "other" in roles):
            settings[name] = _names(f"{key}.{name}", chosen, 2 if name == "of" else 32, exact=name == "of")
        else:
            settings[name] = _name(f"{key}.{name}", chosen)
    return settings


def _name(subject: str, given: object) -> str:
    if not isinstance(given, str) or not given or given == "ts":
        raise InvalidInput(subject, "must be a name", given)
    return given


def _names(subject: str, given: object, most: int, *, exact: bool) -> tuple[str, ...]:
    plain = list(given) if isinstance(given, (list, tuple)) else []
    wrong = not all(isinstance(name, str) and name for name in plain) or (not exact and len(set(plain)) < len(plain))
    if not 1 <= len(plain) <= most or (exact and len(plain) != most) or wrong:
        rule = f"must be a list of {most} names" if exact else f"must be a list of 1 to {most} different names"
        raise InvalidInput(subject, rule, given)
    return tuple(plain)


def _require_order(entries: Sequence[Entry], owners: Mapping[str, str]) -> None:
    in_order(entries)
    by_key = {entry.key: entry for entry in entries}
    for entry in entries:
        for column in entry.needs:
            source = by_key[owners[column]]
            if entry.timeframe is not None and source.timeframe != entry.timeframe:
                rule = f"must be that of {source.key!r}, whose column it reads ({source.timeframe or 'none given'})"
                raise InvalidInput(f"{entry.key}.timeframe", rule, entry.timeframe)
