"""What the reports say of a build: of which sample, over how many days, from which data, and what is not known."""

import hashlib
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from pipelines import monte_carlo, report
from pipelines.params import parse_params
from pipelines.report import _from_start, _notes
from pipelines.workspace import Workspace
from research.market.bars import NS_PER_DAY
from research.metrics import cost_share


class Text(HTMLParser):
    """The words of a page, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.words = "", []

    def handle_starttag(self, tag, attrs):
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def words(small_build) -> str:
    _, workspace = small_build
    text = Text()
    text.feed(workspace.read_bytes("data/reports/tear_sheet.html").decode())
    return re.sub(r"\s+", " ", " ".join(text.words))


def test_resampled_figures_are_of_the_closed_trades_of_both_samples(small_build, words):
    _, workspace = small_build
    figures = workspace.read_json("data/reports/monte_carlo.json")
    trades = [workspace.read_frame(f"data/{s}/trades.parquet") for s in ("walk_forward", "backtest")]
    assert figures["trades"] == sum(frame.height for frame in trades)
    rolled, held = (workspace.read_json(f"data/reports/{s}.json")["days"] for s in ("walk_forward", "backtest"))
    assert figures["days"] == rolled + held == 30.0
    assert f"{figures['trades']:.0f} closed trades of walk-forward and hold-out, 30 days" in words
    made = np.concatenate([frame["return_on_equity_frac"].to_numpy() for frame in trades])
    curve = np.concatenate(([1.0], np.cumprod(1.0 + made)))
    observed = workspace.read_json("data/monte_carlo/observed.json")
    # products in another order
    assert observed["closed_trade_return"] == pytest.approx(curve[-1] - 1.0, rel=1e-10)
    assert observed["closed_trade_drawdown"] == pytest.approx(
        (curve / np.maximum.accumulate(curve) - 1.0).min(), rel=1e-10
    )
    named = set(figures) - {"trades", "days", "paths", "block_trades"}
    assert all(name.startswith(("closed_trade_", "execution_")) for name in named)


def test_too_few_trades_leave_the_figures_unknown(small_build, tmp_path):
    params, workspace = small_build
    other = Workspace(tmp_path)
    for folder in ("data/clean", "data/backtest", "data/walk_forward"):
        shutil.copytree(workspace.root / folder, other.root / folder)
    for stage in ("walk_forward", "backtest"):
        name = f"data/{stage}/trades.parquet"
        other.write_frame(name, workspace.read_frame(name).head(1))
    monte_carlo.run(params, other)
    figures = other.read_json("data/reports/monte_carlo.json")
    assert {n: v for n, v in figures.items() if not n.startswith("execution_")} == {
        "trades": 2, "days": 30.0, "paths": 200,
    }  # fmt: skip
    whole = workspace.read_json("data/reports/monte_carlo.json")  # orders need no trades
    assert {n: v for n, v in figures.items() if n.startswith("execution_")}.items() <= whole.items()
    assert other.read_frame("data/monte_carlo/paths.parquet").columns == ["execution_return", "execution_drawdown"]
    assert other.read_frame("data/monte_carlo/fan_trades.parquet").is_empty()


def test_page_and_gate_have_one_cost_share(small_build, words):
    _, workspace = small_build
    found = workspace.read_json("data/reports/backtest.json")
    equity = workspace.read_frame("data/backtest/equity.parquet")
    paid = {column: float(equity[column].sum()) for column in ("fee", "slippage", "funding")}
    share = cost_share(equity["equity"][-1] - 10_000.0, *paid.values())
    if found["cost_share"] is None:
        assert np.isnan(share)
    else:
        assert found["cost_share"] == pytest.approx(share, rel=1e-12)  # sums in another order
    shown = "n/a" if np.isnan(share) else f"{100 * share:.1f} %".replace("-", "−")
    row = words.split("Costs, share of gross gain")[1].split("Daily record")[0]
    assert row.strip().endswith(shown)
    assert f"−{paid['fee']:,.2f}".replace(",", "\u2009") in row


def test_equity_on_the_page_begins_at_the_cash(small_build):
    _, workspace = small_build
    equity = workspace.read_frame("data/backtest/equity.parquet")
    drawn = _from_start(equity, 10_000.0)
    assert drawn.schema == equity.schema
    assert drawn[1:].equals(equity)
    assert drawn.row(0, named=True) == {
        "ts": equity["ts"][0], "equity": 10_000.0, "position_lots": 0, "wallet": 0.0, "fee": 0.0, "slippage": 0.0,
        "funding": 0.0, "interest": 0.0, "maintenance": 0.0, "ambiguous": 0.0, "drawdown": 0.0,
    }  # fmt: skip


def test_page_says_what_was_seen_and_what_is_counted(small_build, words):
    _, workspace = small_build
    trials = workspace.read_json("data/reports/gate.json")["selection.trials"]
    assert "seen by no search and no fit of this build. Earlier builds count as trials" in words
    assert "looked at once" not in words
    assert f"{trials:.0f} trials that the ledger knows of on this market" in words


def test_page_carries_the_hashes_of_its_data(small_build, tmp_path, words):
    _, workspace = small_build
    table = hashlib.sha256(workspace.read_bytes("data/features/table.parquet")).hexdigest()
    assert f"data.feature_table_sha256 {table}" in words
    clean = report._hashes(workspace)["clean_lake_sha256"]
    assert f"data.clean_lake_sha256 {clean}" in words
    assert workspace.read_json("data/reports/features.json")["fingerprint"] in words
    other = Workspace(tmp_path)
    other.write_bytes("data/features/table.parquet", workspace.read_bytes("data/features/table.parquet"))
    for path in (workspace.root / "data/clean").rglob("*.parquet"):
        changed = path.read_bytes() + (b"x" if "funding" in path.as_posix() else b"")
        other.write_bytes(path.relative_to(workspace.root).as_posix(), changed)
    assert report._hashes(other)["clean_lake_sha256"] != clean


def test_sample_terms_and_missing_marks_are_told(small_build):
    params, _ = small_build
    simulated = " ".join(_notes(params, {"funding_settlements": 60.0, "funding_on_mark_frac": 1.0}))
    assert "sample" not in simulated
    assert "mark price" not in simulated
    values = params.model_dump(by_alias=True)
    recorded = parse_params(values | {"ingest": values["ingest"] | {"source": "files"}})
    told = " ".join(_notes(recorded, {"funding_settlements": 60.0, "funding_on_mark_frac": 0.25}))
    assert "Instrument terms are samples" in told
    assert "45 of the hold-out's 60 funding settlements had no recorded mark price" in told
    assert "planted edge" not in told
    assert "mark price" not in " ".join(
        _notes(recorded, {"funding_settlements": 0.0, "funding_on_mark_frac": None})
    )  # spot: none at all


def test_the_hold_out_is_charged_on_recorded_marks_and_has_no_yearly_rate(small_build):
    _, workspace = small_build
    figures = workspace.read_json("data/reports/backtest.json")
    assert figures["funding_on_mark_frac"] == 1.0
    assert figures["cagr"] is None
    assert figures["calmar"] is None
    assert 0 < figures["round_trips"] <= figures["trades"]
    window = workspace.read_json("data/backtest/window.json")
    assert (window["end_ns"] - window["start_ns"]) / NS_PER_DAY == figures["days"] == 20.0


def test_unknown_figures_refuse_the_gate_by_that_word(small_build, tmp_path):
    from pipelines import gate

    params, workspace = small_build
    other = Workspace(tmp_path)
    for name in ("search", "backtest", "walk_forward", "monte_carlo", "stress", "controls"):
        figures = workspace.read_json(f"data/reports/{name}.json")
        if name == "backtest":
            figures["cost_share"] = float("inf")  # null in the file
        other.write_json(f"data/reports/{name}.json", figures)
    ledgers = ("search/ledger.parquet", "walk_forward/ledger.parquet")
    for name in ("search/daily.parquet", *ledgers, "backtest/intervals.json"):
        other.write_bytes(f"data/{name}", workspace.read_bytes(f"data/{name}"))
    gate.run(params, other)
    table = other.read_frame("data/reports/gate.csv").filter(pl.col("check") == "costs")
    assert table["reason"].to_list() == ["backtest.cost_share must be <= 0.8; it is unknown (missing or not finite)"]


def test_the_gate_reads_every_trial_and_the_page_shows_what_it_found(small_build):
    _, workspace = small_build
    trials = workspace.read_frame("data/search/trials.parquet")
    returns = workspace.read_frame("data/search/returns.parquet")
    assert returns.columns == ["day", *(str(row) for row in range(trials.height))]
    gate = workspace.read_json("data/reports/gate.json")
    assert {"data/search/ledger.parquet", "data/backtest/intervals.json"} <= set(gate["judged"])
    page = workspace.read_bytes("data/reports/tear_sheet.html").decode()
    for heading in ("Selection among all trials", "Parameters over the folds", "Bar by bar, as live runs it"):
        assert heading in page
    assert "Every byte agrees." in page


def test_the_folds_tell_each_parameter_of_the_candidate_that_was_chosen():
    from pipelines.walk_forward import chosen_by_candidate

    folds = pl.DataFrame(
        {"fold": [0, 1], "train_start": [0, 7], "train_stop": [90, 97], "param.candidate": ["a", "b"],
         "param.params": [{"enter": 1.0, "exit": None}, {"enter": 2.0, "exit": 0.5}], "param.value": [0.1, 0.2]}
    )  # fmt: skip
    found = chosen_by_candidate(folds)
    assert found["param.a.enter"].to_list() == [1.0, None]
    assert found["param.b.enter"].to_list() == [None, 2.0]
    assert found["param.b.exit"].to_list() == [None, 0.5]
    assert "param.a.exit" not in found.columns


def test_the_daily_record_leads_from_the_cash_to_the_last_equity_with_every_cost(small_build, words):
    _, workspace = small_build
    record = workspace.read_frame("data/reports/daily_record.csv")
    equity = workspace.read_frame("data/backtest/equity.parquet")
    figures = workspace.read_json("data/reports/backtest.json")
    assert record.height == figures["days"]
    assert record["opening"][0] == 10_000.0
    assert record["closing"][-1] == equity["equity"][-1]
    assert record["opening"][1:].to_list() == record["closing"][:-1].to_list()
    for column, name in (("fees", "fees"), ("slippage", "slippage"), ("funding", "funding"), ("trades", "trades")):
        assert record[column].sum() == pytest.approx(figures[name], rel=1e-12)  # sums in another order
    assert record["fills"].sum() == figures["fills"]
    assert record["turnover"].sum() == pytest.approx(figures["turnover"] * 10_000.0, rel=1e-12)
    assert record["drawdown_frac"].min() == pytest.approx(figures["max_drawdown"], rel=1e-12)
    # What was realised and not yet, before fees and funding, is all that equity gained and they did not take.
    made = float(record["realised"].sum() + record["unrealised_change"].sum())
    kept = figures["final_equity"] - 10_000.0 + figures["fees"] - figures["funding"] + figures["interest"]
    assert made == pytest.approx(kept, abs=1e-6)
    assert record["day"][-1] in words.split("Last 10 days")[1]


def test_the_markdown_report_says_what_the_page_says(small_build):
    _, workspace = small_build
    told = workspace.read_bytes("data/reports/report.md").decode()
    gate = workspace.read_frame("data/reports/gate.csv")
    assert len(told.encode()) < 30_000
    assert f"{gate['passed'].sum()} of {gate.height} checks met" in told.splitlines()[2]
    for heading in (
        "## Gate", "## Key figures", "## Selection among all trials", "### Parameters over the folds", "### Scenarios",
        "### Worse and worse assumptions", "## Markets without an edge", "## Bar by bar, as live runs it",
        "## Where it comes from", "### Daily record, by month", "### 95 % intervals",
    ):  # fmt: skip
        assert told.count(f"\n{heading}\n") == 1
    hashes = report._hashes(workspace)
    assert all(digest in told for digest in hashes.values())


def test_intervals_hold_their_figures_and_count_the_trades_of_each_day(small_build):
    _, workspace = small_build
    ends, figures = (
        workspace.read_json("data/backtest/intervals.json"),
        workspace.read_json("data/reports/backtest.json"),
    )
    for name in ("sharpe", "win_rate", "holding_hours", "trades_per_day"):
        low, high = ends[name]
        assert low <= figures[name] <= high
