"""A polite client of Bybit's public REST: paced, patient with passing failures, final on others. It knows no endpoint.

Clock, sleep and random generator are arguments, so that a test can run hours of waiting in no time and the same
failures always give the same waits. Requests travel through pybit's ``HTTP``, told never to sleep or retry by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from research.errors import InvalidInput, RefusedBySource, RetryLater

BAN_MS = 600_000  # Bybit's rule after HTTP 403: no request for ten minutes
LONGEST_WAIT_S = 60.0
FIRST_WAIT_S = 0.5

RATE_LIMITED = 10006
BANNED = {10009, 10018}  # the IP itself is banned, or over its limit
PASSING_CODES = {RATE_LIMITED, 10000, 10016}  # too many visits, server timeout, server error
PASSING_STATUS = {408, 409, 425, 429}  # 409 is pybit's own word for a 200 that is not JSON (a maintenance page)
# pybit reads the reply as an envelope without looking: a list, a null or a missing retMsg leaves it as one of these.
NOT_AN_ENVELOPE = (ValueError, TypeError, AttributeError, KeyError)


class TokenBucket:
    """Requests spaced so that any window of ``w`` seconds holds at most ``burst + per_second * w`` of them.

    Parameters
    ----------
    per_second : float
        Long-run rate.
    burst : int
        Requests that may leave at once after a rest.
    now_ms, sleep : callable
        Clock in milliseconds; a wait in seconds.
    """

    def __init__(
        self, per_second: float, burst: int, now_ms: Callable[[], int], sleep: Callable[[float], None]
    ) -> None:
        if not per_second > 0:
            raise InvalidInput("requests_per_second", "must be positive", per_second)
        if burst < 1:
            raise InvalidInput("burst", "must be at least 1", burst)
        self._rate, self._burst, self._now_ms, self._sleep = per_second, burst, now_ms, sleep
        self._tokens, self._last_ms = float(burst), now_ms()

    def take(self) -> None:
        """Wait until one more request may leave."""
        now = self._now_ms()
        elapsed_s = max(0, now - self._last_ms) / 1_000  # a clock set back gives no tokens
        self._last_ms = now
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate) - 1
        if self._tokens < 0:  # the debt is repaid by the time slept, seen at the next call
            self._sleep(-self._tokens / self._rate)


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one request and the exchange's own clock when it answered."""

    result: Mapping[str, Any]
    time_ms: int


@dataclass(frozen=True, slots=True)
class _Setback:
    """A passing failure: why, and how long the exchange asked us to wait (None: it did not say)."""

    reason: str
    wait_s: float | None = None


class BybitRest:
    """Send public GET requests one at a time.

    Parameters
    ----------
    endpoint : str, optional
        Base address, ``http://…`` or ``https://…``; Bybit's main net where left out.
    now_ms : callable
        Wall clock in milliseconds since the epoch.
    sleep : callable
        Wait for a number of seconds.
    rng : numpy.random.Generator
        Jitter of the waits; it never touches the rows.
    requests_per_second : float
        Bybit allows 120 per second and IP; the default leaves room for others.
    burst : int
        Requests that may leave at once after a rest.
    attempts : int
        Tries of one request before :class:`RetryLater`.
    timeout_s : float
        Of one try.

    Notes
    -----
    Waits double from 0.5 s to at most 60 s, times a factor drawn from [0.5, 1). A rate-limit reply that names a
    reset time in the future is waited for exactly; one in the past (clocks differ) falls back to doubling.
    After HTTP 403 nothing is sent for ten minutes: further calls fail at once, without touching the network.
    Not safe to share between threads: `requests.Session` is not.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        now_ms: Callable[[], int],
        sleep: Callable[[float], None],
        rng: np.random.Generator,
        requests_per_second: float = 20.0,
        burst: int = 5,
        attempts: int = 6,
        timeout_s: float = 10.0,
    ) -> None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise InvalidInput("endpoint", "must start with http:// or https://", endpoint)
        if attempts < 1:
            raise InvalidInput("attempts", "must be at least 1", attempts)
        # max_retries=1 with a code that no reply carries: pybit's own retry sleeps in time.sleep and raises ValueError
        # when a reset time lies in the past; an empty set would be replaced by its default.
        self.http = HTTP(
            timeout=timeout_s, max_retries=1, retry_codes={-1}, force_retry=False, return_response_headers=True
        )
        if endpoint is not None:
            self.http.endpoint = endpoint.rstrip("/")
        self.http.client.trust_env = False
        self._now_ms, self._sleep, self._rng, self._attempts = now_ms, sleep, rng, attempts
        self._bucket = TokenBucket(requests_per_second, burst, now_ms, sleep)
        self._banned_until_ms = 0

    def close(self) -> None:
        """Close the connection."""
        self.http.client.close()

    def ask(self, call: Callable[..., Any], subject: str, query: Mapping[str, Any]) -> Reply:
        """Return the reply to one request, however many tries it takes.

        Parameters
        ----------
        call : callable
            A bound method of :attr:`http`.
        subject : str
            What errors name.
        query : mapping
            Arguments of the request.

        Raises
        ------
        RetryLater
            If every try failed for a passing reason.
        RefusedBySource
            If the exchange refuses the request itself, or has banned this address.
        """
        setback = _Setback("no try was made")
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(self._wait_s(setback, attempt))
            self._refuse_while_banned(subject)
            self._bucket.take()
            outcome = self._try_once(call, subject, query)
            if isinstance(outcome, Reply):
                return outcome
            setback = outcome
        raise RetryLater(f"{subject}: no answer in {self._attempts} tries; the last one: {setback.reason}")

    def _wait_s(self, setback: _Setback, attempt: int) -> float:
        if setback.wait_s is not None and setback.wait_s > 0:
            return min(setback.wait_s, LONGEST_WAIT_S)
        return min(FIRST_WAIT_S * 2.0 ** (attempt - 1), LONGEST_WAIT_S) * float(self._rng.uniform(0.5, 1.0))

    def _refuse_while_banned(self, subject: str) -> None:
        left_ms = self._banned_until_ms - self._now_ms()
        if left_ms > 0:
            raise RefusedBySource(f"{subject}: not sent, this address is banned for {left_ms / 1_000:.0f} s more")

    def _ban(self, subject: str, reason: str) -> RefusedBySource:
        self._banned_until_ms = self._now_ms() + BAN_MS
        return RefusedBySource(
            f"{subject}: {reason}: too many requests from this address, or it lies in a country Bybit does not serve; "
            "wait 10 minutes before the next request"
        )

    def _try_once(self, call: Callable[..., Any], subject: str, query: Mapping[str, Any]) -> Reply | _Setback:
        try:
            envelope, _, _ = call(**query)
        except InvalidRequestError as error:
            return self._judge_code(error, subject)
        except FailedRequestError as error:
            return self._judge_status(error, subject)
        except requests.RequestException as error:  # before ValueError: some of these are both
            if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
                raise RefusedBySource(f"{subject}: {error}") from error
            return _Setback(f"{type(error).__name__}: {error}")
        except NOT_AN_ENVELOPE as error:
            return _Setback(f"the reply is not an envelope ({type(error).__name__}: {error})")
        result, time_ms = envelope.get("result"), envelope.get("time")
        if not isinstance(result, dict) or envelope.get("retCode") != 0:
            return _Setback("the reply has no retCode 0 with a result")
        return Reply(result, time_ms if isinstance(time_ms, int) else self._now_ms())

    def _judge_code(self, error: InvalidRequestError, subject: str) -> _Setback:
        reason = f"retCode {error.status_code}: {error.message}"
        if error.status_code in BANNED:
            raise self._ban(subject, reason) from error
        if error.status_code not in PASSING_CODES:
            raise RefusedBySource(f"{subject}: {reason}") from error
        wait_s = None
        if error.status_code == RATE_LIMITED:
            reset = str((error.resp_headers or {}).get("X-Bapi-Limit-Reset-Timestamp", ""))
            wait_s = (int(reset) - self._now_ms()) / 1_000 if reset.isascii() and reset.isdigit() else None
        return _Setback(reason, wait_s)

    def _judge_status(self, error: FailedRequestError, subject: str) -> _Setback:
        reason = f"HTTP {error.status_code}"
        if error.status_code == 403:
            raise self._ban(subject, reason) from error
        if error.status_code >= 500 or error.status_code in PASSING_STATUS:
            return _Setback(reason)
        raise RefusedBySource(f"{subject}: {reason}") from error
