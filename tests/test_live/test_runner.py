"""The runner on a promoted bundle: equal to research to the bit, and anything else is refused or reported."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from live import runner
from live.bundle_files import load_bundle, read_bundle
from live.journal import read_journal
from research.bundle import Bundle
from research.market.bars import NS_PER_DAY, TS

ROOT = Path(__file__).resolve().parents[2]


class FixedClock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


def run(workspace, folder, *arguments, bundle="sol-intraday@champion", promoted=None, replay=None):
    given = [
        "--bundle",
        bundle,
        "--replay",
        str(replay or workspace.root / "data/clean"),
        "--quiet",
        "--promoted",
        str(promoted or workspace.root / "models/promoted"),
        "--journal",
        str(folder / "session.jsonl"),
    ]
    return runner.main([*given, *arguments], FixedClock())


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def day(ns: int) -> str:
    return pl.Series([ns]).cast(TS).dt.strftime("%Y-%m-%d")[0]


@pytest.fixture(scope="session")
def window(promoted):
    _, workspace, _ = promoted
    return workspace.read_json("data/backtest/window.json")


def test_the_holdout_replayed_bar_by_bar_equals_the_backtest(promoted, tmp_path, capsys):
    _, workspace, version = promoted
    assert run(workspace, tmp_path) == runner.EQUAL
    shown = capsys.readouterr().out
    assert "hold-out backtest of the bundle" in shown
    assert shown.count("yes") == 6  # five tables, and the state that the policy is left in
    events = list(read_journal(tmp_path / "session.jsonl"))
    assert events[0]["kind"] == "session"
    assert events[0]["version"] == version
    assert events[-1]["kind"] == "proof"
    assert events[-1]["equal"] is True
    equity = workspace.read_frame("data/backtest/equity.parquet")
    fills = workspace.read_frame("data/backtest/fills.parquet")
    kinds = [event["kind"] for event in events]
    assert kinds.count("bar") == equity.height
    assert kinds.count("fill") == fills.height > 100
    prices = [event["price"] for event in events if event["kind"] == "fill"]
    assert prices == fills["price"].to_list()
    ids = [event["client_id"] for event in events if event["kind"] == "order"]
    assert len(ids) == len(set(ids)) > 100


def test_a_fresh_process_proves_it_too_on_other_days(promoted, window, tmp_path):
    """Eight days from before the hold-out: warm-up included, against one block of the same kernels."""
    _, workspace, _ = promoted
    start, end = day(window["start_ns"] - 8 * NS_PER_DAY), day(window["start_ns"])
    command = [
        sys.executable,
        "-m",
        "live.runner",
        "--bundle",
        "sol-intraday@champion",
        "--mode",
        "paper",
        "--replay",
        str(workspace.root / "data/clean"),
        "--promoted",
        str(workspace.root / "models/promoted"),
        "--journal",
        str(tmp_path / "j.jsonl"),
        "--start",
        start,
        "--end",
        end,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == runner.EQUAL, done.stderr
    assert "one block of the same kernels" in done.stdout
    assert done.stdout.count("yes") == 5


def test_the_registry_serves_the_same_bundle(promoted, window, tmp_path):
    _, workspace, _ = promoted
    start, end = day(window["start_ns"] - 2 * NS_PER_DAY), day(window["start_ns"])
    assert (
        run(workspace, tmp_path, "--start", start, "--end", end, bundle="models:/sol-intraday@champion") == runner.EQUAL
    )


def test_a_file_of_bars_is_replayed(promoted, window, tmp_path):
    _, workspace, _ = promoted
    where = ("simulated", "linear", "SOLUSDT")
    begin = window["start_ns"] - 3 * NS_PER_DAY
    workspace.clean.bars(*where, "1m", start=begin, end=window["start_ns"]).write_parquet(tmp_path / "bars.parquet")
    workspace.clean.funding(*where).write_parquet(tmp_path / "funding.parquet")
    funding = ["--funding", str(tmp_path / "funding.parquet")]
    assert run(workspace, tmp_path, *funding, replay=tmp_path / "bars.parquet") == runner.EQUAL


def _altered(bundle: Bundle, folder: Path, **changes) -> Path:
    """Export a changed bundle with a correct manifest, as version 1 and champion."""
    fields = {name: getattr(bundle, name) for name in Bundle.__dataclass_fields__} | changes
    target = folder / bundle.name / "1"
    for name, content in Bundle(**fields).to_files().items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    index = {"aliases": {"champion": "1"}, "manifest_sha256": {"1": digest(target)}}
    (folder / bundle.name / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("table", "column", "named"),
    [
        ("equity", "wallet", "equity.wallet[70000]"),
        ("decisions", "rsi", "features.rsi[20000]"),
        ("decisions", "exposure", "decisions.exposure[20000]"),
        ("fills", "price", "fills.price[50]"),
        ("orders", "target", "orders.target[50]"),
    ],
)
def test_one_bit_of_difference_is_found_named_and_fails(promoted, tmp_path, capsys, table, column, named):
    """A replay differs from the reference by the last bit of one number of one row."""
    from live.feeds import Recording
    from live.proof import Trace, opened, prove

    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    row = int(named.split("[")[1][:-1])
    frame = pl.read_parquet(io.BytesIO(bundle.files[f"reference/{table}.parquet"]))
    values = frame[column].to_numpy().copy()
    values[row] = np.nextafter(values[row], np.inf)
    buffer = io.BytesIO()
    frame.with_columns(pl.Series(column, values)).write_parquet(buffer)
    files = {**bundle.files, f"reference/{table}.parquet": buffer.getvalue()}
    folder = _altered(bundle, tmp_path, files=files) / bundle.name / "1"
    changed = read_bundle(folder, digest(folder))
    recording = _holdout(workspace, bundle)
    policy, venue = opened(changed, recording)
    decisions = policy.push(recording.ts, recording.columns)
    ledger = venue.on_bars(
        recording.ts,
        recording.columns,
        recording.mark,
        recording.funding_rate,
        decisions.exposures_per_bar(recording.ts.size),
    )
    trace = Trace(policy.columns)
    trace.add(recording.ts, decisions, ledger)
    _, comparisons = prove(changed, recording, trace, policy)
    wrong = [c for c in comparisons if not c.is_equal]
    assert len(wrong) == 1
    assert wrong[0].difference.startswith(named)
    assert isinstance(recording, Recording)


def _holdout(workspace, bundle):
    from live.feeds import open_recording
    from live.settings import read_settings

    return open_recording(read_settings(["--bundle", "x@y", "--replay", str(workspace.root / "data/clean")]), bundle)


def test_days_within_the_holdout_equal_the_backtest_of_those_days(promoted, window, tmp_path, capsys):
    """They are reached from the hold-out's begin, so that features, position and equity are those of the backtest."""
    _, workspace, _ = promoted
    days = ["--start", day(window["start_ns"] + 20 * NS_PER_DAY), "--end", day(window["start_ns"] + 22 * NS_PER_DAY)]
    assert run(workspace, tmp_path, *days) == runner.EQUAL
    shown = capsys.readouterr().out
    assert "the hold-out backtest of the bundle, up to these bars" in shown.replace("\n", " ")
    bars = [e for e in read_journal(tmp_path / "session.jsonl") if e["kind"] == "bar"]
    assert len(bars) == 2 * 1440
    assert f"{22 * 1440:,}" in shown


def test_a_row_missing_from_the_reference_of_those_days_is_a_difference(promoted, window, tmp_path, capsys):
    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    frame = pl.read_parquet(io.BytesIO(bundle.files["reference/orders.parquet"]))
    buffer = io.BytesIO()
    pl.concat([frame.head(3), frame.tail(-4)]).write_parquet(buffer)
    folder = _altered(bundle, tmp_path, files={**bundle.files, "reference/orders.parquet": buffer.getvalue()})
    end = ["--start", day(window["start_ns"] + 20 * NS_PER_DAY), "--end", day(window["start_ns"] + 21 * NS_PER_DAY)]
    assert run(workspace, tmp_path, *end, promoted=folder) == runner.DIFFERENT
    assert "orders" in capsys.readouterr().out


@pytest.mark.slow  # the whole hold-out once more, bar by bar
def test_another_state_after_the_holdout_is_a_difference(promoted, tmp_path, capsys):
    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    files = {**bundle.files, "warm_end.bin": bundle.files["warm_start.bin"]}
    assert run(workspace, tmp_path, promoted=_altered(bundle, tmp_path, files=files)) == runner.DIFFERENT
    assert "state.byte" in capsys.readouterr().out


def test_a_range_without_a_decision_proves_nothing_and_says_so(promoted, window, tmp_path, capsys):
    _, workspace, _ = promoted
    minute = ["--start", day(window["start_ns"]) + "T00:00", "--end", day(window["start_ns"]) + "T00:01"]
    assert run(workspace, tmp_path, *minute) == runner.FAILED
    assert "at least one decision bar" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"costs": "free"}, {"account": "leverage"}])
def test_other_money_terms_are_refused(promoted, tmp_path, capsys, change):
    from research.execution import Costs

    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    terms = (
        {"costs": Costs(taker_fee_bps=0.0)}
        if "costs" in change
        else {"account": {**bundle.account, "max_leverage": 50}}
    )
    assert run(workspace, tmp_path, promoted=_altered(bundle, tmp_path, **terms)) == runner.FAILED
    assert "FingerprintMismatch" in capsys.readouterr().err


def test_a_difference_ends_the_runner_with_its_exit_code(promoted, tmp_path, capsys):
    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    frame = pl.read_parquet(io.BytesIO(bundle.files["reference/fills.parquet"]))
    buffer = io.BytesIO()
    frame.head(frame.height - 1).write_parquet(buffer)
    folder = _altered(bundle, tmp_path, files={**bundle.files, "reference/fills.parquet": buffer.getvalue()})
    assert run(workspace, tmp_path, promoted=folder) == runner.DIFFERENT
    shown = capsys.readouterr().out
    assert f"fills has {frame.height} rows, expected {frame.height - 1}" in shown
    assert list(read_journal(tmp_path / "session.jsonl"))[-1]["equal"] is False


def test_a_bundle_of_other_kernels_is_refused(promoted, tmp_path, capsys):
    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    folder = _altered(bundle, tmp_path, fingerprint="0" * 64)
    assert run(workspace, tmp_path, promoted=folder) == runner.FAILED
    assert "FingerprintMismatch" in capsys.readouterr().err
    assert not (tmp_path / "session.jsonl").exists()


def test_an_altered_file_is_refused(promoted, tmp_path, capsys):
    _, workspace, version = promoted
    shutil.copytree(workspace.root / "models/promoted", tmp_path / "promoted")
    model = tmp_path / "promoted/sol-intraday" / version / "predictor.bin"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(bytes(content))
    assert run(workspace, tmp_path, promoted=tmp_path / "promoted") == runner.FAILED
    assert "predictor.bin does not match" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (("costs",), None, "manifest.json"),
        (("sha256",), None, "sha256"),
        (("window",), {}, "manifest.json"),
        (("window",), None, "manifest.json"),
        (("costs", "colour"), 1, "manifest.json"),
        (("policy", "strategy"), None, "manifest"),
        (("format",), 9, "format"),
        (("account",), [1], "manifest"),
        (("fingerprint",), None, "manifest"),
    ],
)
def test_a_manifest_of_another_shape_is_refused_in_words(promoted, tmp_path, capsys, path, change, said):
    _, workspace, version = promoted
    shutil.copytree(workspace.root / "models/promoted", tmp_path / "promoted")
    folder = tmp_path / "promoted/sol-intraday" / version
    manifest = json.loads((folder / "manifest.json").read_bytes())
    node = manifest
    for part in path[:-1]:
        node = node[part]
    if change is None:
        del node[path[-1]]
    else:
        node[path[-1]] = change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    index = {"aliases": {"champion": version}, "manifest_sha256": {version: digest(folder)}}
    (tmp_path / "promoted/sol-intraday/index.json").write_text(json.dumps(index))
    assert run(workspace, tmp_path, promoted=tmp_path / "promoted") == runner.FAILED
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"aliases": {}}', b"\xff\xfe"])
def test_a_damaged_index_is_refused_in_words(promoted, tmp_path, capsys, content):
    _, workspace, _ = promoted
    shutil.copytree(workspace.root / "models/promoted", tmp_path / "promoted")
    (tmp_path / "promoted/sol-intraday/index.json").write_bytes(content)
    assert run(workspace, tmp_path, promoted=tmp_path / "promoted") == runner.FAILED
    assert "index.json" in capsys.readouterr().err


def test_a_manifest_that_nobody_promoted_is_refused(promoted, tmp_path, capsys):
    _, workspace, version = promoted
    shutil.copytree(workspace.root / "models/promoted", tmp_path / "promoted")
    manifest = tmp_path / "promoted/sol-intraday" / version / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"override": null', b'"override": "me"'))
    assert run(workspace, tmp_path, promoted=tmp_path / "promoted") == runner.FAILED
    assert "does not match the hash it was promoted with" in capsys.readouterr().err


def test_a_replay_that_is_no_parquet_is_named(promoted, tmp_path, capsys):
    _, workspace, _ = promoted
    (tmp_path / "bars.parquet").write_text("time,price")
    assert run(workspace, tmp_path, replay=tmp_path / "bars.parquet") == runner.FAILED
    assert "cannot be read as Parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ("sol-intraday@nobody", "no such bundle"),
        ("nothing@champion", "no such bundle"),
        ("sol-intraday", "NAME@champion"),
        ("../x@champion", "NAME@champion"),
        ("models:/sol-intraday@nobody", "not in the registry"),
        ("models:/x", "models:/NAME"),
    ],
)
def test_a_bundle_that_is_not_there_is_named(promoted, tmp_path, capsys, bundle, said):
    _, workspace, _ = promoted
    assert run(workspace, tmp_path, bundle=bundle) == runner.FAILED
    assert said in capsys.readouterr().err


def test_a_replay_that_is_not_there_is_named(promoted, tmp_path, capsys):
    _, workspace, _ = promoted
    assert run(workspace, tmp_path, replay=tmp_path / "nothing") == runner.FAILED
    assert "no such folder or file" in capsys.readouterr().err
    assert run(workspace, tmp_path, "--start", "2030-01-01", "--end", "2030-01-02") == runner.FAILED
    assert run(workspace, tmp_path, "--start", "2024-01-01") == runner.FAILED


def test_bars_with_holes_are_replayed_equal_to_one_block(promoted, window, tmp_path):
    _, workspace, _ = promoted
    where = ("simulated", "linear", "SOLUSDT")
    bars = workspace.clean.bars(*where, "1m", start=window["start_ns"] - 4 * NS_PER_DAY, end=window["start_ns"])
    at = pl.int_range(pl.len())
    bars.filter(~at.is_between(2_000, 2_050) & (at % 997 != 3)).write_parquet(tmp_path / "bars.parquet")
    workspace.clean.funding(*where).write_parquet(tmp_path / "funding.parquet")
    funding = ["--funding", str(tmp_path / "funding.parquet")]
    assert run(workspace, tmp_path, *funding, replay=tmp_path / "bars.parquet") == runner.EQUAL


def test_a_perpetual_is_not_replayed_without_its_funding(promoted, window, tmp_path, capsys):
    _, workspace, _ = promoted
    where = ("simulated", "linear", "SOLUSDT")
    bars = workspace.clean.bars(*where, "1m", start=window["start_ns"] - NS_PER_DAY, end=window["start_ns"])
    bars.write_parquet(tmp_path / "bars.parquet")
    assert run(workspace, tmp_path, replay=tmp_path / "bars.parquet") == runner.FAILED
    assert "--funding is required" in capsys.readouterr().err


def test_a_journal_replays_its_session(promoted, window, tmp_path):
    """The second session reads nothing but the first one's journal, and writes the same."""
    _, workspace, _ = promoted
    days = ["--start", day(window["start_ns"] - 3 * NS_PER_DAY), "--end", day(window["start_ns"])]
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(workspace, first, *days) == runner.EQUAL
    assert run(workspace, second, replay=first / "session.jsonl") == runner.EQUAL
    assert (first / "session.jsonl").read_bytes() == (second / "session.jsonl").read_bytes()
    kinds = {event["kind"] for event in read_journal(second / "session.jsonl")}
    assert kinds == {"session", "bar", "decision", "order", "fill", "proof"}


def test_the_live_table_shows_where_the_session_stands(promoted):
    from rich.console import Console

    from live.screen import Screen
    from live.venues.paper import PaperVenue

    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    with Screen(bundle, "7", 200, quiet=False, console=console) as screen:
        screen.decisions, screen.fills = 41, 3
        screen.update(99, 1_704_067_200_000_000_000, 101.5, PaperVenue(bundle), -0.25)
    shown = out.getvalue()
    for part in ("sol-intraday v7", "2024-01-01 00:00", "101.5", "-0.250", "10,000.00 USDT", "41", "50%"):
        assert part in shown
