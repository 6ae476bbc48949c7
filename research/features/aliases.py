"""What features are called elsewhere, for the error that an unknown name gives. It registers nothing."""

from __future__ import annotations

_CALLED: dict[str, str] = {
    "adx": "di dmi minus_di plus_di",
    "atr": "natr",
    "basis": "annualised_basis spot_perp",
    "bollinger": "bb bbands bollinger_bands",
    "book_imbalance": "depth imbalance obi orderbook_imbalance",
    "break_of_structure": "bos",
    "change_of_character": "choch",
    "cmf": "chaikin",
    "cointegration_spread": "hedge_ratio pairs",
    "delta": "imbalance",
    "difference": "diff mom momentum",
    "ema_ribbon": "ribbon",
    "fair_value_gaps": "fair_value_gap fvg",
    "fibonacci_levels": "fib",
    "fractional_difference": "ffd fracdiff",
    "funding": "funding_rate",
    "funding_countdown": "minutes_to_funding",
    "funding_time": "minutes_to_funding",
    "futures_basis": "annualised_basis backwardation contango",
    "hour_cycle": "hour",
    "hull_ma": "hma hull",
    "keltner": "kc",
    "linear_regression": "linreg",
    "liquidations": "liquidation",
    "liquidity_sweep": "failed_breakout stop_hunt sweep",
    "log_return": "momentum returns",
    "macd": "ao",
    "open_interest_change": "oi open_interest",
    "order_flow_imbalance": "ofi",
    "parabolic_sar": "psar sar",
    "pin_bar": "hammer shooting_star",
    "pivot_camarilla": "pivot_points pivots",
    "pivot_classic": "pivot_points pivots",
    "pivot_fibonacci": "pivot_points pivots",
    "product": "interaction",
    "quantile": "median percentile",
    "rank": "percentile",
    "ratio": "interaction",
    "realised_moments": "kurtosis skew skewness",
    "relative_volume": "rvol",
    "roc": "mom momentum returns",
    "rolling_moments": "mean std stdev",
    "rolling_vwap": "vwap",
    "session_vwap": "vwap",
    "sign_agreement": "interaction",
    "sma": "mean",
    "spread": "interaction",
    "squeeze": "ttm_squeeze",
    "stoch_rsi": "stochrsi",
    "stochastic": "stoch",
    "swings": "hh hl zigzag",
    "three_soldiers": "crows three_crows",
    "true_range": "tr",
    "tsi": "ao",
    "volatility": "historical_volatility hv std stdev",
    "volume_profile": "poc vah val",
    "walls": "wall",
    "week_cycle": "weekday",
    "williams_r": "willr wpr",
}


def _by_alias() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for feature, names in _CALLED.items():
        for name in names.split():
            found[name] = (*found.get(name, ()), feature)
    return found


ALIASES: dict[str, tuple[str, ...]] = _by_alias()
