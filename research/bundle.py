"""What research hands to live: one policy, its money rules, its warm states, its proof and its papers. It does no I/O.

A bundle is a set of named files, as bytes, under a manifest that holds the SHA-256 of each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from research.errors import FingerprintMismatch, InvalidInput
from research.execution.costs import Costs
from research.market.instruments import Instrument
from research.policy import Policy, PolicySpec
from research.predictor import Predictor

MANIFEST = "manifest.json"
_FORMAT = 1
REFERENCE = ("decisions", "orders", "fills", "equity")
_REQUIRED = (
    "predictor.bin",
    "warm_start.bin",
    "warm_end.bin",
    *(f"reference/{name}.parquet" for name in REFERENCE),
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A promoted model.

    Parameters
    ----------
    name : str
        Registered name.
    spec : PolicySpec
        Features, strategy and sizer.
    predictor : Predictor
        Its learned part, or none.
    instrument : Instrument
        What is traded, with dated terms.
    costs : Costs
        Costs assumed, also on paper.
    account : mapping
        Initial cash, leverage, latency.
    window : mapping
        ``start_ns`` and ``end_ns`` of the hold-out that ``reference`` describes.
    fingerprint : str
        Of policy and money terms when it was made; see :func:`fingerprint`.
    files : mapping of str to bytes
        ``warm_start.bin`` and ``warm_end.bin`` (policy states before and after the hold-out), and the tables
        ``reference/NAME.parquet`` of the hold-out backtest, which a replay must reproduce.
    papers : mapping
        Lineage, gate table, out-of-sample metrics, trials, drift reference: told, not used.
    """

    name: str
    spec: PolicySpec
    predictor: Predictor
    instrument: Instrument
    costs: Costs
    account: Mapping[str, Any]
    window: Mapping[str, int]
    fingerprint: str
    files: Mapping[str, bytes]
    papers: Mapping[str, Any] = field(default_factory=dict)

    def policy(self, warm: str | None = "start") -> Policy:
        """Return the policy, warm as before (``"start"``) or after (``"end"``) the hold-out, or cold (None).

        Raises
        ------
        FingerprintMismatch
            If the kernels now running, or the money terms, are not those it was made with.
        """
        policy = Policy(self.spec, self.predictor)
        here = fingerprint(policy, self.instrument, self.costs, self.account)
        if here != self.fingerprint:
            raise FingerprintMismatch(
                f"bundle {self.name} was made by kernels and terms {self.fingerprint[:12]}, "
                f"those here are {here[:12]}: "
                "check out the bundle's commit, or train and promote again"
            )
        if warm is not None:
            policy.restore(self.files[f"warm_{warm}.bin"])
        return policy

    def to_files(self) -> dict[str, bytes]:
        """Return every file of the bundle, the manifest among them."""
        files = {**self.files, "predictor.bin": self.predictor.blob}
        manifest = {
            "format": _FORMAT,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "policy": self.spec.to_dict(),
            "predictor": self.predictor.to_dict(),
            "instrument": self.instrument.to_dict(),
            "costs": asdict(self.costs),
            "account": dict(self.account),
            "window": dict(self.window),
            "papers": self.papers,
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        }
        # In the order given, not sorted: that of the features is that of the predictor's columns.
        files[MANIFEST] = json.dumps(manifest, indent=1).encode() + b"\n"
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Bundle:
        """Return the bundle held by ``files``.

        Raises
        ------
        InvalidInput
            If a file is missing, altered, or the manifest is not one of this format.
        """
        manifest = _manifest(files)
        for name, expected in manifest["sha256"].items():
            if name not in files:
                raise InvalidInput(f"bundle.{name}", "is missing")
            if hashlib.sha256(files[name]).hexdigest() != expected:
                raise InvalidInput(f"bundle.{name}", "does not match the manifest's SHA-256: it was altered")
        for name in _REQUIRED:
            if name not in manifest["sha256"]:
                raise InvalidInput(f"bundle.{name}", "is not in the manifest")
        try:
            return cls(
                name=manifest["name"],
                spec=PolicySpec.from_dict(manifest["policy"]),
                predictor=Predictor.from_dict(manifest["predictor"], files["predictor.bin"]),
                instrument=Instrument.from_dict(manifest["instrument"]),
                costs=Costs(**manifest["costs"]),
                account={str(k): v for k, v in manifest["account"].items()},
                window={name: int(manifest["window"][name]) for name in ("start_ns", "end_ns")},
                fingerprint=manifest["fingerprint"],
                papers=manifest["papers"],
                files={name: files[name] for name in manifest["sha256"] if name != "predictor.bin"},
            )
        except (KeyError, TypeError, AttributeError) as error:
            rule = f"must describe a bundle: {type(error).__name__} {error}"
            raise InvalidInput(f"bundle.{MANIFEST}", rule) from error


def fingerprint(policy: Policy, instrument: Instrument, costs: Costs, account: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a policy's fingerprint and the terms it trades money at."""
    terms = {"instrument": instrument.to_dict(), "costs": asdict(costs), "account": dict(account)}
    return hashlib.sha256(f"{policy.fingerprint} {json.dumps(terms, sort_keys=True)}".encode()).hexdigest()


def manifest_sha256(files: Mapping[str, bytes]) -> str:
    """Return the hash that stands for a whole bundle: that of its manifest, which holds those of all other files."""
    return hashlib.sha256(files[MANIFEST]).hexdigest()


def _manifest(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a manifest of this format that names files by their hashes."""
    if MANIFEST not in files:
        raise InvalidInput("bundle", f"must hold {MANIFEST}; files are", sorted(files))
    try:
        manifest = json.loads(files[MANIFEST])
    except ValueError as error:
        raise InvalidInput(f"bundle.{MANIFEST}", f"must be JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise InvalidInput(f"bundle.{MANIFEST}.format", f"must be {_FORMAT}", found)
    if not isinstance(manifest.get("sha256"), dict):
        raise InvalidInput(f"bundle.{MANIFEST}.sha256", "must map file names to hashes")
    return manifest
