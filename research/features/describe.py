"""The catalogue in words: a listing, one feature in full, and the reference page. It computes no feature."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass

from research.errors import InvalidInput
from research.features import (
    calendar,
    candles,
    context,
    cross,
    derivatives,
    flow,
    momentum,
    moves,
    structure,
    transforms,
    trend,
    volatility,
    volume,
)
from research.features.catalogue import CATALOGUE, FAMILIES
from research.features.feature_entry import BASKET, OPERANDS, REFERENCE, suggestion
from research.features.inputs import INPUTS
from research.kernel import UNBOUNDED, KernelSpec
from research.market.bars import INTERVALS

_PACKAGES = (trend, momentum, volatility, volume, structure, candles, flow, derivatives, cross, calendar, moves,
             context, transforms)  # fmt: skip


_INTRODUCTION = """# Features

The {count} features of the catalogue. This page is made of the registry and the docstrings of the kernels
(`python -m research.features --page > docs/features.md`); a test compares the two.

Every feature is one compiled loop that reads bars in order and remembers in an explicit state, so that research (in
blocks) and live (bar by bar) run the same code and give the same bytes. Figures are those of the default parameters, in
bars that can be read: the *lookback* is the first with a value, the *warm-up* the one from which a cold start equals a
long-running one within the tolerance. (Two limits of any arithmetic: in a market that has stopped, the ratio of two
averages that both fade to nothing, as in RSI, ADX or TSI, may keep the trace of its start; and where the values of a
window differ by less than a millionth of their level, their deviation has lost as many digits.) *Unbounded* features
are continued from a snapshot: no number of bars makes two starts equal. A bar whose inputs cannot all be read gives NaN
and changes nothing.

An entry of a `FeatureSet` may say, besides the parameters below, `timeframe` (a multiple of the bars': {timeframes}),
`symbol`, and where the feature reads such a thing `of` (columns of the bars or of other entries; `{of}` unless told),
`reference` (`{reference}` unless told), `basket` ({basket}) and `series` (the key of the entry).
"""


_EXAMPLE = """```python
from research.features import FeatureSet

features = FeatureSet(
    {
        "rsi": {"length": 14},
        "trend_1h": {"feature": "adx", "timeframe": "1h"},
        "beta": {"reference": "BTCUSDT", "length": 48},
        "rsi_rank": {"feature": "rank", "of": "rsi", "length": 96},
    },
    timeframe="5m",
)
assert features.inputs == ("close", "high", "low", "BTCUSDT.close")
```
"""


@dataclass(frozen=True, slots=True)
class Description:
    """What the docstring of a kernel says.

    Parameters
    ----------
    summary : str
        First paragraph.
    body : str
        What else stands before the parameters, with formulas as ``.. math::`` blocks.
    parameters : dict of str to str
        By name: inputs, params, ``state`` and ``out``.
    notes : str
        Notes, if any.
    """

    summary: str
    body: str
    parameters: dict[str, str]
    notes: str


def described(spec: KernelSpec) -> Description:
    """Return what the docstring of a feature's kernel says, in parts."""
    sections = _sections(inspect.cleandoc(inspect.unwrap(spec.kernel).__doc__ or ""))
    summary, _, body = sections[""].strip().partition("\n\n")
    parameters, notes = _items(sections.get("Parameters", "")), sections.get("Notes", "").strip()
    return Description(_noun(" ".join(summary.split())), body.strip(), parameters, notes)


def listing(family: str | None = None) -> str:
    """Return one line per feature: name, parameters with defaults, outputs.

    Raises
    ------
    InvalidInput
        If there is no such family.
    """
    if family is not None and family not in FAMILIES:
        raise InvalidInput("family", f"must be one of {', '.join(FAMILIES)}", family)
    lines = []
    for name, specs in FAMILIES.items():
        if family in (None, name):
            lines += [f"{name.upper()}: {_title(name)}", ""]
            width = max(len(spec.name) for spec in specs)
            for spec in specs:
                params = ", ".join(
                    f"{p.name}={p.default:g}" if p.default < 1e6 else f"{p.name}={p.default}" for p in spec.params
                )
                outputs = f" -> {', '.join(spec.outputs)}" if spec.outputs != ("",) else ""
                first, after = f"  {spec.name:<{width}}  ", " " * (width + 4)
                lines += textwrap.wrap(
                    _plain(described(spec).summary), 116, initial_indent=first, subsequent_indent=after
                )
                told = f"({params}){outputs}" if params else outputs.strip()
                lines += textwrap.wrap(told, 116, initial_indent=after, subsequent_indent=after)
            lines.append("")
    count = sum(len(specs) for name, specs in FAMILIES.items() if family in (None, name))
    return "\n".join([*lines, f"{count} features. `--describe NAME` tells one in full."])


def describe(name: str) -> str:
    """Return all that is known of one feature, as text.

    Raises
    ------
    InvalidInput
        If there is no such feature.
    """
    if name not in CATALOGUE:
        rule = f"must be in the catalogue{suggestion(name, CATALOGUE)}; `python -m research.features` lists it"
        raise InvalidInput("feature", rule, name)
    spec = CATALOGUE[name]
    told = described(spec)
    lines = [f"{name}: {told.summary}", ""]
    if told.body:
        lines += [_plain(re.sub(r"^\.\. math::\n\n", "", told.body, flags=re.M)), ""]
    lines += ["Inputs"] + [f"    {role}: {_input(role)}" for role in spec.inputs]
    if spec.params:
        lines += ["Parameters"]
        lines += [
            f"    {p.name} = {p.default} [{p.low} to {p.high}]: {' '.join(told.parameters.get(p.name, '').split())}"
            for p in spec.params
        ]
    lines += ["Outputs"] + [f"    {column}" for column in spec.column_names(name)]
    lines += textwrap.wrap(" ".join(told.parameters.get("out", "").split()), 112, initial_indent="    ",
                           subsequent_indent="    ")  # fmt: skip
    lines += [f"Unit: {spec.unit}", f"Lookback: {spec.lookback(*spec.arguments())} bars", f"Warm-up: {_warmup(spec)}"]
    lines += [f"Gap: {spec.gap}", f"Reference: {spec.reference}"]
    if told.notes:
        lines += ["", *textwrap.wrap(" ".join(told.notes.split()), 116)]
    return "\n".join(lines)


def page() -> str:
    """Return the reference page of the catalogue, in Markdown."""
    lines = _INTRODUCTION.format(
        count=len(CATALOGUE), timeframes=", ".join(INTERVALS), of=OPERANDS[0], reference=REFERENCE,
        basket=", ".join(BASKET),
    ).splitlines()  # fmt: skip
    lines += ["", *_EXAMPLE.splitlines(), ""]
    for family, specs in FAMILIES.items():
        lines += [f"- [{family}](#family-{family}): " + ", ".join(f"[{s.name}](#{s.name})" for s in specs)]
    for family, specs in FAMILIES.items():
        lines += ["", f"## Family {family}", "", f"{_title(family)}.", ""]
        for spec in specs:
            lines += _section(spec)
    lines += ["", "## Inputs", "", "| column | readable | of a longer bar | unit | source |", "|---|---|---|---|---|"]
    lines += [f"| `{n}` | {told.kind} | {told.merge} | {told.unit} | {told.source} |" for n, told in INPUTS.items()]
    return "\n".join(lines) + "\n"


def _section(spec: KernelSpec) -> list[str]:
    told = described(spec)
    lines = [f"### {spec.name}", "", _markdown(told.summary), ""]
    if told.body:
        lines += [_markdown(told.body), ""]
    lines += ["- reads " + ", ".join(f"`{role}`" for role in spec.inputs)]
    for p in spec.params:
        words = _markdown(" ".join(told.parameters.get(p.name, "").split()))
        lines.append(f"- `{p.name}` = {p.default}, {p.low} to {p.high}: {words}")
    columns = ", ".join(f"`{column}`" for column in spec.column_names(spec.name))
    lines.append(f"- gives {columns}: {_markdown(' '.join(told.parameters.get('out', '').split()))}")
    lines.append(f"- unit {spec.unit}; lookback {spec.lookback(*spec.arguments()):,}; warm-up {_warmup(spec)}")
    lines.append(f"- reference: {spec.reference}")
    if told.notes:
        lines += ["", _markdown(told.notes)]
    return [*lines, ""]


def _sections(doc: str) -> dict[str, str]:
    """Return the sections of a numpydoc docstring; what comes before the first is under the empty name."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", doc, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _items(section: str) -> dict[str, str]:
    """Return the text under each name of a parameter section; ``a, b : type`` names two."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line[0].isspace():
            names = [name.strip() for name in line.split(" : ")[0].split(",")]
            found.update(dict.fromkeys(names, ""))
        else:
            for name in names:
                found[name] += line.strip() + "\n"
    return {name: text.strip() for name, text in found.items()}


def _noun(summary: str) -> str:
    """Return what a kernel advances or writes, without the verb."""
    told = re.sub(r"^(Advance|Write|Compute|Count|Measure|Mark|Return|Give|Tell) (the |a |an )?", "", summary)
    return told[:1].upper() + told[1:]


def _title(family: str) -> str:
    package = next(p for p in _PACKAGES if p.__name__.endswith(f".{family}"))
    title = (package.__doc__ or "").strip().rstrip(".").partition(": ")[2]
    return title[:1].upper() + title[1:]


def _plain(text: str) -> str:
    return re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("``", "")


def _markdown(text: str) -> str:
    text = re.sub(r"^\.\. math::\n((?:\n|[ ]+.*(?:\n|$))+)", _fenced, text, flags=re.M)
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    return re.sub(r"(?<!`)``(?!`)", "`", text)


def _fenced(match: re.Match[str]) -> str:
    return f"```math\n{' '.join(match.group(1).split())}\n```\n"


def _warmup(spec: KernelSpec) -> str:
    bars = spec.warmup(*spec.arguments())
    if bars == UNBOUNDED:
        return "unbounded"
    return f"{bars:,} (to {spec.warmup_rtol:g})" if spec.warmup_rtol else f"{bars:,} (to the bit)"


def _input(role: str) -> str:
    name = role.rsplit(".", 1)[-1]
    if role in INPUTS:
        return f"{INPUTS[role].unit}, of {INPUTS[role].source}"
    bound = {"value": "a column (of)", "other": "a second column (of)", "series": "a context series (series)"}
    if role in bound:
        return bound[role]
    if role == "series.age":
        return "minutes since its newest value became available"
    whose = "the other symbol (reference)" if role.startswith("reference") else "each symbol of the list (basket)"
    return f"{INPUTS[name].unit}, {name} of {whose}"
