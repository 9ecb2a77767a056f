"""A report as JSON: for the journal, and for transports whose other end is this program too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from application.ports import Report, Verb
from domain.result import EndReason
from domain.status import Status


def encode_report(report: Report) -> dict[str, Any]:
    return asdict(report)


def decode_report(document: Mapping[str, Any]) -> Report:
    """Raises ValueError, TypeError or KeyError for anything but what ``encode_report`` gave."""
    fields = dict(document)
    status, reason = fields.pop("status"), fields.pop("end_reason")
    return Report(
        **(fields | {"verb": Verb(fields["verb"])}),
        status=None if status is None else Status(status),
        end_reason=None if reason is None else EndReason(reason),
    )
