"""What the operator sees: a live table, the proof, the summary. It computes nothing that is traded on."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table

from live.venues.paper import PaperVenue
from research.bundle import Bundle
from research.parity import Comparison


class Screen:
    """A console with one live table.

    Parameters
    ----------
    bundle : Bundle
        What runs.
    version : str
        Its registered version.
    n_bars : int
        Bars that will come; 0 where that is not known.
    quiet : bool
        Show no live table.
    console : Console, optional
        Where to; the terminal by default.
    """

    def __init__(self, bundle: Bundle, version: str, n_bars: int, quiet: bool, console: Console | None = None) -> None:
        self.console = console or Console()
        self._bundle, self._version, self._n_bars = bundle, version, n_bars
        self._live = None if quiet or not self.console.is_terminal else Live(console=self.console, refresh_per_second=4)
        self.decisions = self.orders = self.fills = 0

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, number: int, ts_ns: int, close: float, venue: PaperVenue, exposure: float) -> None:
        """Show the state after a bar."""
        if self._live is None:
            return
        account, instrument = venue.account, self._bundle.instrument
        table = Table(title=f"{self._bundle.name} v{self._version} · paper · {instrument.venue} {instrument.symbol}")
        for column in ("bar (UTC)", "close", "exposure", "position", "equity", "decisions", "orders", "fills", "done"):
            table.add_column(column, justify="right")
        done = f"{(number + 1) / self._n_bars:.0%}" if self._n_bars else str(number + 1)
        table.add_row(
            _time(ts_ns), f"{close:g}", f"{exposure:+.3f}", f"{account.position_qty:+g} {instrument.base}",
            f"{account.equity:,.2f} {instrument.quote}", str(self.decisions), str(self.orders), str(self.fills), done,
        )  # fmt: skip
        self._live.update(table)

    def proof(self, subject: str, comparisons: list[Comparison]) -> None:
        """Print the comparison with research."""
        table = Table(title=f"Parity with {subject}, byte for byte", title_justify="left")
        for column in ("table", "rows", "columns", "research sha256", "live sha256", "equal"):
            table.add_column(column, justify="right" if column in ("rows", "columns") else "left")
        for c in comparisons:
            verdict = "[green]yes[/]" if c.is_equal else "[bold red]NO[/]"
            table.add_row(c.name, f"{c.rows:,}", str(c.columns), c.expected[:16], c.actual[:16], verdict)
        self.console.print(table)
        for c in comparisons:
            if not c.is_equal:
                self.console.print(f"[red]first difference[/]: {c.difference}")

    def summary(self, first_ns: int, last_ns: int, n_bars: int, venue: PaperVenue, journal: str) -> None:
        """Print what the session came to."""
        account, start = venue.account, float(self._bundle.account["initial_cash_quote"])
        table = Table(title="Session", show_header=False, title_justify="left")
        quote = self._bundle.instrument.quote
        for name, value in (
            ("bars", f"{n_bars:,} from {_time(first_ns)} to {_time(last_ns)} UTC"),
            ("decisions / orders / fills", f"{self.decisions:,} / {self.orders:,} / {self.fills:,}"),
            ("equity", f"{start:,.2f} → {account.equity:,.2f} {quote} ({account.equity / start - 1:+.2%} on paper)"),
            ("position", f"{account.position_qty:+g} {self._bundle.instrument.base}"),
            ("journal", journal),
        ):
            table.add_row(name, value)
        self.console.print(table)


def _time(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
