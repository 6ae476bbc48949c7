"""Exceptions named by what the caller can do about them. It defines no handling.

::

    PlatformError
    ├── InvalidInput (ValueError)      change the argument, parameter or row named
    │   ├── SchemaMismatch             the columns, types or units are not the kind's
    │   ├── MisalignedBars             rows are not on one increasing clock
    │   └── FundingHole                funding rows do not cover the bars
    ├── QualityRefused                 a quality rule with policy ``error`` found rows
    ├── LakeError                      the lake could not be read or written; it is as it was
    │   ├── CorruptFile                a stored file cannot be read: name it, remove or restore it
    │   └── NotInLake                  nothing stored under that name
    ├── SourceError                    an exchange or file source failed
    │   ├── RetryLater                 passing: the same call may succeed
    │   └── RefusedBySource            final: the request itself is wrong
    ├── TrackingError              the tracking store or registry could not be reached or written
    ├── FingerprintMismatch            a bundle was made by other kernel code
    └── GateRefused                    a promotion was asked for that the gate did not pass
"""

from __future__ import annotations


class PlatformError(Exception):
    """Root of every error the platform raises on purpose."""


class InvalidInput(PlatformError, ValueError):
    """An argument breaks a rule.

    Parameters
    ----------
    subject : str
        What is wrong, as the caller named it (``ema.length``, ``bars.close[17]``).
    rule : str
        The rule it breaks, as a phrase that follows the subject (``must be at least 1``).
    received : object, optional
        The value received.

    Examples
    --------
    >>> str(InvalidInput("ema.length", "must be at least 1", 0))
    'ema.length must be at least 1; received 0'
    """

    def __init__(self, subject: str, rule: str, received: object = ...) -> None:
        self.subject, self.rule, self.received = subject, rule, received
        super().__init__(f"{subject} {rule}" + ("" if received is ... else f"; received {received!r}"))


class SchemaMismatch(InvalidInput):
    """Columns, types or time units are not those of the kind."""


class MisalignedBars(InvalidInput):
    """Rows are not on one strictly increasing clock, or two inputs differ in theirs."""


class FundingHole(InvalidInput):
    """Funding rows do not cover the bars they are charged on."""


class QualityRefused(PlatformError):
    """A quality rule whose policy is ``error`` found offending rows."""


class LakeError(PlatformError):
    """The lake could not be read or written; what it held before is untouched."""


class CorruptFile(LakeError):
    """A stored file cannot be read back."""


class NotInLake(LakeError):
    """Nothing is stored under the name asked for."""


class SourceError(PlatformError):
    """A market-data source failed."""


class RetryLater(SourceError):
    """A passing failure: the same request may succeed later."""


class RefusedBySource(SourceError):
    """A final failure: the request itself is refused."""


class TrackingError(PlatformError):
    """The tracking store or the registry could not be reached, read or written."""


class FingerprintMismatch(PlatformError):
    """A bundle was made by kernel code other than the code now running."""


class GateRefused(PlatformError):
    """The gate did not pass, so nothing is promoted."""
