"""How values that only campaign files have are spelled: times of day, time zones, days, numbers of hours."""

from __future__ import annotations

import re
import zoneinfo
from functools import cache
from typing import Annotated

from vrecompute.config.spelling import Spelling, read_text, shown
from vrecompute.nearest import nearest

__all__ = ["DAYS", "Address", "ClockTime", "Mail", "Path", "Place", "PositiveNumber", "Zone"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _read_clock(value: object) -> int:
    """Minutes since midnight of `22:00`."""
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", value) if isinstance(value, str) else None
    if match is None or not (int(match[1]) < 24 and int(match[2]) < 60):
        raise ValueError(f"{shown(value)} is not a time of day; write hours and minutes, such as '22:00'")
    return int(match[1]) * 60 + int(match[2])


def _read_zone(value: object) -> str:
    text = read_text(value)
    try:
        zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        meant = nearest(text, _zones())
        hint = f"did you mean '{meant}'?" if meant else "write one such as Europe/Berlin, or UTC"
        raise ValueError(f"'{text}' is not a time zone that this machine knows; {hint}") from None
    return text


@cache
def _zones() -> list[str]:
    return sorted(zoneinfo.available_timezones())


def _read_positive(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    raise ValueError(f"expected a number above 0, found {shown(value)}; write digits, such as 1.5")


def _read_mail(value: object) -> str:
    text = read_text(value)
    # it stands in a header of the mail, and in no argument list
    if not re.fullmatch(r"[A-Za-z0-9._%+-]+(@[A-Za-z0-9.-]+)?", text) or text.startswith("-"):
        raise ValueError(f"'{text}' is not an address of mail; write one such as operator@example.org")
    return text


def _read_place(value: object) -> str:
    text = read_text(value)
    scheme, separator, _ = text.partition("://")
    if scheme == "rucio" or (not separator and re.fullmatch(r"[\w.-]+:[\w./-]+", text)):
        raise ValueError(
            f"'{text}' is a place of Rucio, into which this version puts no products; write a folder or "
            "s3://bucket/prefix"
        )
    if separator and scheme != "s3":
        raise ValueError(f"'{text}' is no place for products; write a folder or s3://bucket/prefix")
    return text


def _read_path(value: object) -> str:
    text = read_text(value)
    if "://" in text:
        raise ValueError(f"'{text}' is an address, and this has to be a path of this machine; write /path or a name")
    return text


_TEXT = {"type": "string", "minLength": 1}
#: Minutes since midnight inside, `22:00` in YAML.
ClockTime = Annotated[
    int,
    Spelling(
        "time of day",
        _read_clock,
        {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}$"},
        lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}",
    ),
]
Zone = Annotated[str, Spelling("time zone", _read_zone, _TEXT)]
PositiveNumber = Annotated[float, Spelling("number above 0", _read_positive, {"type": "number", "exclusiveMinimum": 0})]
#: A folder of this machine, or a bucket.
Place = Annotated[str, Spelling("folder or s3:// address", _read_place, _TEXT)]
Mail = Annotated[str, Spelling("address of mail", _read_mail, _TEXT)]
#: A path of this machine; relative ones begin beside the campaign file.
Path = Annotated[str, Spelling("path", _read_path, _TEXT)]
#: A path, a pattern or an address of files.
Address = Annotated[str, Spelling("path, pattern or address", read_text, _TEXT)]
