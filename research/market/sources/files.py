"""Market data from files: every reader in one place. It holds no reader of its own, downloads and writes nothing.

Publishers known by name: Bybit's public dumps (trades, MetaTrader 4 klines, order book), Binance Vision (klines,
aggTrades, trades, fundingRate) and freqtrade's feather files. Anything else with telling column names is ``generic``.
"""

from research.market.sources.book_files import book_chunks, read_book
from research.market.sources.file_layouts import LAYOUTS
from research.market.sources.file_tables import read_bars, read_funding, read_mark, read_trades
from research.market.sources.market_folder import read_market_folder

__all__ = [
    "LAYOUTS",
    "book_chunks",
    "read_bars",
    "read_book",
    "read_funding",
    "read_mark",
    "read_market_folder",
    "read_trades",
]
