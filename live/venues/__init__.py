"""Adapters that turn orders into fills; each speaks to one venue, or to none."""
