"""Keys of an S3 service: from the text that an address names to what botocore signs with, read anew before they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from vrecompute.errors import StoreRefused
from vrecompute.records import json_of

__all__ = ["keys_of", "renewed"]

# Keys that do not say when they expire are read anew when this is nearly over: botocore looks 15 minutes ahead.
_UNDATED = timedelta(minutes=30)


def renewed(read: Any) -> Any:
    """botocore's credentials, which read themselves anew."""
    from botocore.credentials import RefreshableCredentials

    def dated() -> Any:
        keys = read()
        return {**keys, "expiry_time": keys["expiry_time"] or (datetime.now(UTC) + _UNDATED).isoformat()}

    return RefreshableCredentials.create_from_metadata(metadata=dated(), refresh_using=dated, method="vrecompute")


def keys_of(text: str, where: str) -> dict[str, str | None]:
    """Keys as botocore wants them; StoreRefused, which shows nothing of them, for text that is none."""
    wrong = f"{where} is neither KEY_ID SECRET_KEY [SESSION_TOKEN] nor JSON with AccessKeyId and SecretAccessKey"
    found: dict[str, str | None] = dict.fromkeys(("access_key", "secret_key", "token", "expiry_time"))
    try:
        if text.lstrip().startswith("{"):
            said = json_of(text)
            said = said.get("Credentials", said)
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
            found.update(zip(found, map(said.get, names), strict=True))
        else:
            found.update(zip(found, text.split(), strict=False))
    except (ValueError, AttributeError):
        raise StoreRefused(wrong) from None
    if not found["access_key"] or not found["secret_key"]:
        raise StoreRefused(wrong)
    return found
