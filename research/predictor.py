"""A fitted model as live needs it: bytes in, scores out. It fits nothing.

The model's library is imported when the first row is scored, not before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from research.errors import FingerprintMismatch, InvalidInput
from research.kernel import FloatArray

if TYPE_CHECKING:
    import lightgbm

KINDS = ("lightgbm", "none")


class Predictor:
    """Scores rows of features with a model frozen by research.

    Parameters
    ----------
    kind : str
        ``"lightgbm"``, or ``"none"`` for a policy that reads no score.
    blob : bytes
        The model: LightGBM's text. Empty for ``"none"``.
    columns : sequence of str
        Feature columns in the order of the matrix; the model knows them by position.

    Raises
    ------
    InvalidInput
        If the kind is unknown, or blob and columns are not what it asks for.

    Notes
    -----
    Scores do not depend on how rows are grouped: one row at a time equals the batch to the byte, in one thread (a
    second one waits for the first: p99 of a single row up to 4 ms against 0.2). At 200 trees of 20 columns a row takes
    21 us.
    """

    __slots__ = ("_booster", "blob", "columns", "kind", "sha256")

    def __init__(self, kind: str, blob: bytes, columns: Sequence[str]) -> None:
        if kind not in KINDS:
            raise InvalidInput("predictor.kind", f"must be one of {', '.join(KINDS)}", kind)
        if len(set(columns)) != len(columns):
            raise InvalidInput("predictor.columns", "must be distinct", list(columns))
        if (kind == "none") != (not blob) or (kind == "none") != (not columns):
            raise InvalidInput(
                f"predictor.{kind}",
                "must have a model and columns" if kind != "none" else "must have neither a model nor columns",
                f"{len(blob)} bytes, {len(columns)} columns",
            )
        self.kind, self.blob, self.columns = kind, bytes(blob), tuple(columns)
        named = json.dumps([kind, list(columns)]).encode()
        self.sha256 = hashlib.sha256(named + b"\n" + self.blob).hexdigest()
        self._booster: lightgbm.Booster | None = None

    @classmethod
    def none(cls) -> Predictor:
        """Return the predictor of a policy that reads no score."""
        return cls("none", b"", ())

    @classmethod
    def from_lightgbm(cls, booster: lightgbm.Booster, columns: Sequence[str]) -> Predictor:
        """Return the predictor of a fitted booster.

        Raises
        ------
        InvalidInput
            If it was fitted on another number of columns, or gives more than one score per row.
        """
        if booster.num_feature() != len(columns):
            raise InvalidInput("columns", f"must name the booster's {booster.num_feature()} features", list(columns))
        if booster.num_model_per_iteration() != 1:
            raise InvalidInput("booster", "must give one score per row", booster.num_model_per_iteration())
        return cls("lightgbm", booster.model_to_string(num_iteration=-1).encode(), columns)

    def predict(self, features: FloatArray) -> FloatArray:
        """Return the score of each row.

        Parameters
        ----------
        features : (n, k) array of float64
            One column per entry of :attr:`columns`; anything for ``"none"``.

        Returns
        -------
        (n,) array
            NaN where a feature is not finite (the row is not shown to the model), and everywhere for ``"none"``.
        """
        if features.ndim != 2 or (self.kind != "none" and features.shape[1] != len(self.columns)):
            raise InvalidInput("features", f"must have shape (n, {len(self.columns)})", features.shape)
        score = np.full(features.shape[0], np.nan)
        if self.kind == "none":
            return score
        complete = np.isfinite(features).all(axis=1)
        if complete.any():
            rows = np.ascontiguousarray(features[complete], dtype=np.float64)
            score[complete] = self.model().predict(rows, num_threads=1)
        return score

    def to_dict(self) -> dict[str, Any]:
        """Return what a manifest says of the predictor: all but its bytes."""
        return {"kind": self.kind, "columns": list(self.columns), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, stated: dict[str, Any], blob: bytes) -> Predictor:
        """Return the predictor that a manifest and a file of bytes describe.

        Raises
        ------
        FingerprintMismatch
            If the bytes are not those that the manifest was written for.
        """
        found = cls(stated["kind"], blob, stated["columns"])
        if found.sha256 != stated["sha256"]:
            raise FingerprintMismatch(f"predictor.sha256 must be {stated['sha256']}; received {found.sha256}")
        return found

    def model(self) -> lightgbm.Booster:
        """Return the booster, loaded at the first call.

        Raises
        ------
        InvalidInput
            If there is no model, or the bytes are not a LightGBM model of this number of columns.
        """
        if self.kind == "none":
            raise InvalidInput("predictor.kind", "must have a model", self.kind)
        if self._booster is None:
            import lightgbm  # 0.7 s and 160 MB (it loads pandas and scikit-learn): only where a model is scored

            try:
                booster = lightgbm.Booster(model_str=self.blob.decode())
            except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
                raise InvalidInput("predictor.blob", f"must be a LightGBM model: {error}") from error
            if booster.num_feature() != len(self.columns):
                raise InvalidInput("predictor.columns", f"must be {booster.num_feature()}", len(self.columns))
            self._booster = booster
        return self._booster

    def __getstate__(self) -> tuple[str, bytes, tuple[str, ...]]:
        return self.kind, self.blob, self.columns

    def __setstate__(self, state: tuple[str, bytes, tuple[str, ...]]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Predictor({self.kind!r}, {len(self.blob)} bytes, {len(self.columns)} columns, {self.sha256[:12]})"
