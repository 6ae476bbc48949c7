"""The table that a command prints last. It decides nothing."""

from __future__ import annotations

import polars as pl


def table_text(rows: pl.DataFrame) -> str:
    """Return rows as a plain text table, all of them, numbers with thousands apart."""
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=400,
        fmt_str_lengths=300,
        thousands_separator=True,
    ):
        return str(rows)
