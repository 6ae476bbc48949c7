"""How often the gate passes noise, and how often a planted edge: tables in Markdown, and the figure of the docs.

    python -m benchmarks.calibration [--noise N] [--power N] [--traded N] [--figure PATH]

A thousand studies of each kind of noise and some hundred of each edge take ten minutes on two cores, and the same
numbers come out each time. It changes no check: those that are proposed stand beside the gate's.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.traded_studies import traded_figures
from pipelines.params import load_params
from research.kernel import FloatArray
from research.metrics.inference import probabilistic_sharpe_ratio, sharpe_moments
from research.validation import Check
from research.validation.calibration import (
    StudyDesign,
    calibrate,
    pass_rates,
    predicted_power,
    simulated_study,
    study_figures,
)
from research.validation.intervals import default_block
from research.validation.snooping import resampled_means

FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "gate_calibration.svg"
STATISTICAL = ("significance", "deflated_sharpe", "overfitting", "snooping")
# What the gate asks of skill and of luck; the others ask what kind of trader it is.
OF_SKILL = (*STATISTICAL, "sharpe", "sortino", "drawdown", "walk_forward", "luck")
TOLD = {
    "significance": "hold-out PSR ≥ 0.95", "deflated_sharpe": "DSR ≥ 0.95", "overfitting": "PBO ≤ 0.2",
    "snooping": "SPA p ≤ 0.05", "together": "these four together",
    "loss": "proposed: loss probability ≤ 0.1", "plain_spa": "proposed: SPA in plain deviations, p ≤ 0.05",
    "alike_dsr": "proposed: DSR against the best of trials as alike, ≥ 0.95",
    "luck": "resampled trades, 5th percentile > 0", "skill": "all checks of skill",
    "gate": "the whole gate, as far as a study has its figures",
}  # fmt: skip
SHARPES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
PATHS = 1_000  # of SPA: its p-value is then off by 0.007 at 0.05, which a rate over many studies does not feel
TIGHT = (0.8, 0.95)
NOISE = {
    "normal": StudyDesign(),
    "Student t(4)": StudyDesign(degrees=4.0),
    "autocorrelation 0.2": StudyDesign(autocorrelation=0.2),
    "tight search": StudyDesign(loadings=TIGHT),
    "tight, autocorrelated": StudyDesign(loadings=TIGHT, autocorrelation=0.2),
    "500 days": StudyDesign(days=500),
}


def gate_checks() -> list[Check]:
    """Return the gate of ``params.yaml``."""
    checks = load_params().gate.checks
    return [Check(name, c.figure, c.op, c.threshold, c.why) for name, c in checks.items()]


PROPOSED = [
    Check("loss", "selection.loss_probability", "<=", 0.1),
    Check("plain_spa", "proposed.spa_p", "<=", 0.05), Check("alike_dsr", "proposed.deflated_sharpe", ">=", 0.95)
]  # fmt: skip


def simulated(design: StudyDesign, studies: int, seed: int) -> pl.DataFrame:
    """Return the figures of studies whose returns are drawn."""

    def one(generator: np.random.Generator, number: int) -> dict[str, float]:
        study = simulated_study(design, generator)
        return study_figures(*study, paths=PATHS, seed=number) | proposed_figures(study.development, number)

    return calibrate(one, studies, seed=seed, threads=2)


def proposed_figures(development: FloatArray, seed: int) -> dict[str, float]:
    """Return two figures that the gate does not ask for.

    SPA that divides by a day's plain deviation: the bootstrap's own one comes out of 180 days with an error of 12 %
    (a plain one: 5 %), and the largest of many ratios is one whose deviation is too small. And a deflated ratio whose
    hurdle is what trials as alike as these come to without skill: the spread across trials, which the usual one takes,
    is the wider the more some of them earn.
    """
    n = development.shape[0]
    root, scaled = math.sqrt(n), development / development.std(axis=0, ddof=1)
    mean = scaled.mean(axis=0)
    centre = np.where(mean >= -math.sqrt(2.0 * math.log(math.log(n)) / n), mean, 0.0)
    above = sum(
        int(np.count_nonzero((means - centre).max(axis=1) > max(0.0, mean.max())))
        for means in resampled_means(scaled, default_block(n), PATHS, seed)
    )
    best = sharpe_moments(development[:, int(mean.argmax())])
    centred = development - development.mean(axis=0)
    alike = np.random.default_rng(seed).standard_normal((PATHS, n)) @ (centred / development.std(axis=0)) / root
    hurdle = float(np.mean(alike.max(axis=1) - alike.min(axis=1))) / 2.0 / root
    told = probabilistic_sharpe_ratio(best.sharpe, best.n_obs, best.skew, best.kurtosis, hurdle)
    return {"proposed.spa_p": above / PATHS, "proposed.deflated_sharpe": told}


def rates_of(figures: pl.DataFrame, checks: Sequence[Check]) -> dict[str, dict[str, Any]]:
    """Return the rates of all checks whose figures are there, and together."""
    known = [check for check in (*checks, *PROPOSED) if check.figure in figures.columns]
    together: dict[str, Sequence[str]] = {"together": STATISTICAL}
    if "backtest.win_rate" in figures.columns:  # traded: what a backtest alone does not tell is left out
        asked = [check.name for check in known if check not in PROPOSED]
        together |= {"skill": [name for name in asked if name in OF_SKILL], "gate": asked}
    return {row["check"]: row for row in pass_rates(figures, known, together).iter_rows(named=True)}


def shown(row: dict[str, Any] | None) -> str:
    """Return a rate with its interval, in percent."""
    if row is None:
        return ""
    return f"{100 * row['rate']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def noise_part(checks: Sequence[Check], studies: int, traded: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Print how often noise passes; return the rates."""
    found, spreads = {}, []
    for number, (name, design) in enumerate(NOISE.items()):
        figures = simulated(design, studies, 100 + number)
        found[name] = rates_of(figures, checks)
        spreads.append((name, figures["selection.pbo"].to_numpy()))
    figures = traded_studies(0.0, traded, 200)
    found["traded market"] = rates_of(figures, checks)
    spreads.append(("traded market", figures["selection.pbo"].to_numpy()))
    names = [name for name in TOLD if any(name in rates for rates in found.values())]
    rows = [[TOLD[name], *(shown(rates.get(name)) for rates in found.values())] for name in names]
    bounds = [f"{100 * rates['together']['at_most']:.2f}" for rates in found.values()]
    rows.append(["these four: at most, 95 % one-sided", *bounds])
    print_table(f"Noise: percent of {studies} studies that pass ({traded} of the market)", ["check", *found], rows)
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = [[name, *(f"{v:.2f}" for v in np.quantile(values, quantiles))] for name, values in spreads]
    print_table("PBO of noise", ["", "5 %", "25 %", "median", "75 %", "95 %"], rows)
    return found


def power_part(checks: Sequence[Check], studies: int) -> dict[float, dict[str, dict[str, Any]]]:
    """Print how often an edge passes, beside what the power predicts; return the rates of the wide search."""
    found, rows = {}, []
    others = ("overfitting", "together", "loss", "plain_spa", "alike_dsr")
    cases = [(value, "", StudyDesign(sharpe=value)) for value in SHARPES]
    cases += [(value, ", tight", StudyDesign(sharpe=value, loadings=TIGHT)) for value in (2.0, 4.0, 6.0)]
    for number, (value, kind, design) in enumerate(cases):
        rates = rates_of(simulated(design, studies, 300 + number), checks)
        found |= {} if kind else {value: rates}
        power = predicted_power(design)._asdict()
        cells = [f"{shown(rates[name])}; {100 * power[name]:.1f}" for name in power]
        rows.append([f"{value:g}{kind}", *cells, *(shown(rates[name]) for name in others)])
    head = ["true ratio of the best", *(f"{TOLD[n]}: measured; predicted" for n in power), *(TOLD[n] for n in others)]
    print_table(f"Planted edges: percent of {studies} studies that pass", head, rows)
    return found


def traded_studies(edge: float, studies: int, seed: int) -> pl.DataFrame:
    """Return the figures of studies that are traded."""
    return calibrate(
        lambda generator, number: traded_figures(generator, number, edge, PATHS), studies, seed=seed, threads=2
    )


def traded_part(checks: Sequence[Check], studies: int) -> None:
    """Print how often an edge in a market passes the whole gate."""
    columns, medians = {}, []
    for number, edge in enumerate((0.03, 0.05, 0.10)):
        figures = traded_studies(edge, studies, 400 + number)
        columns[f"edge {edge:g}"] = rates_of(figures, checks)
        medians.append(f"{figures['backtest.sharpe'].mean():.1f}")
    names = list(columns["edge 0.03"])
    rows = [["mean ratio of the chosen on the hold-out", *medians]]
    rows += [[TOLD.get(name, name), *(shown(rates[name]) for rates in columns.values())] for name in names]
    print_table(f"Traded markets with an edge: percent of {studies} studies that pass", ["check", *columns], rows)


# --------------------------------------------------------------------------- the figure
INK, FAINT = "#24292f", "#8c959f"
COLOURS = {
    "significance": "#0072b2", "deflated_sharpe": "#d55e00", "snooping": "#009e73", "overfitting": "#cc79a7",
    "together": INK,
}  # fmt: skip
SHORT = {
    "significance": "PSR of the hold-out", "deflated_sharpe": "DSR", "snooping": "SPA", "overfitting": "PBO",
    "together": "all four",
}  # fmt: skip


def draw(noise: dict[str, Any], power: dict[float, Any], studies: tuple[int, int], path: Path) -> None:
    """Write the figure; the same bytes for the same numbers."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {
        "svg.hashsalt": "calibration", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
        "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"], "text.color": INK,
        "axes.edgecolor": FAINT, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
    }  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4), width_ratios=(1.0, 1.15))
    draw_noise(left, noise, studies[0])
    draw_power(right, power, studies[1])
    figure.tight_layout(w_pad=2.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def draw_noise(axes: Any, noise: dict[str, Any], studies: int) -> None:
    """Draw the rates on noise: a row for each kind, a mark for each check."""
    names = list(noise)
    for k, name in enumerate(names):
        for j, check in enumerate(COLOURS):
            row, y = noise[name][check], len(names) - k + 0.30 - 0.15 * j
            axes.plot(
                [100 * row["low"], 100 * row["high"]], [y, y], color=COLOURS[check], lw=1.4, solid_capstyle="butt"
            )
            axes.plot(100 * row["rate"], y, "o", color=COLOURS[check], ms=3.6, clip_on=False, zorder=3)
    axes.axvline(5.0, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=0)
    axes.text(5.15, 0.42, "5 %", color=FAINT, fontsize=8, va="bottom")
    axes.set_yticks(range(len(names), 0, -1), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0.4, len(names) + 0.6)
    axes.set_xlim(left=0.0)
    axes.xaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10])
    axes.set_xlabel("studies that pass, %")
    axes.set_title(f"Noise: {studies:,} studies of each kind", loc="left", fontsize=10)


def draw_power(axes: Any, power: dict[float, Any], studies: int) -> None:
    """Draw the rates on edges: what is predicted as lines, what is measured as marks with intervals."""
    fine = np.linspace(0.0, max(SHARPES), 13)
    predicted = [predicted_power(StudyDesign(sharpe=float(value)))._asdict() for value in fine]
    for k, (check, colour) in enumerate(COLOURS.items()):
        rows = [power[value][check] for value in SHARPES]
        beside = np.array(SHARPES) + 0.05 * (k - 2)  # intervals that lie side by side can be told apart
        rate = np.array([100 * row["rate"] for row in rows])
        spread = np.array([[100 * (r["rate"] - r["low"]), 100 * (r["high"] - r["rate"])] for r in rows]).T
        if check in predicted[0]:
            axes.plot(fine, [100 * p[check] for p in predicted], color=colour, lw=1.3)
            style = "none"
        else:
            style = (0, (1.5, 2.0))
        axes.errorbar(beside, rate, spread, fmt="o", ms=4, color=colour, lw=1.2, ls=style, label=SHORT[check],
                      clip_on=False, zorder=3)  # fmt: skip
    axes.set_xlim(-0.15, max(SHARPES) + 0.15)
    axes.set_ylim(0.0, 100.0)
    axes.set_xlabel("true annual Sharpe ratio of the best trial")
    axes.set_ylabel("studies that pass, %")
    axes.set_title(f"Edges: {studies:,} studies at each ratio (lines: predicted)", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", handlelength=1.2)


def main(arguments: Sequence[str]) -> None:
    """Run the calibration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", type=int, default=1_000, help="studies of each kind of noise")
    parser.add_argument("--power", type=int, default=200, help="studies at each ratio")
    parser.add_argument("--traded", type=int, default=200, help="traded studies with each edge; of noise: --noise")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    given = parser.parse_args(arguments)
    checks = gate_checks()
    noise = noise_part(checks, given.noise, given.noise)
    power = power_part(checks, given.power)
    draw(noise, power, (given.noise, given.power), given.figure)
    print(f"\nFigure: {given.figure}")
    traded_part(checks, given.traded)


if __name__ == "__main__":
    main(sys.argv[1:])
