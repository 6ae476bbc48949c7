"""Where market data comes from: Bybit's REST and files of several publishers. Nothing is stored here.

Import the modules themselves: this package imports none of them, so that reading files does not load a network client.
"""
