"""Memory and durations: one internal unit each (bytes, seconds), and how every batch system spells them.

The same letters mean different things in different systems: `4G` is 4 GiB to Slurm and HTCondor and
4 000 000 000 bytes to Kubernetes. So text is read by a function that names its dialect, and nothing but
whole bytes and whole seconds is ever passed around.

>>> parse_memory("9GiB") == from_kubernetes("9Gi") == from_slurm("9216M") == from_htcondor("9216", "M")
True
>>> to_slurm_mb(parse_memory("9GiB")), parse_duration("04:00:00"), format_duration(36 * 3600)
(9216, 14400, '36h')
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from vrecompute.errors import UsageError

__all__ = [
    "bytes_option",
    "format_duration",
    "format_memory",
    "from_htcondor",
    "from_kubernetes",
    "from_slurm",
    "from_slurm_time",
    "parse_bytes",
    "parse_duration",
    "parse_memory",
    "to_htcondor_kb",
    "to_htcondor_mb",
    "to_kubernetes",
    "to_slurm_mb",
    "to_slurm_time",
]

_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_DECIMAL = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

#: What may be written for memory: `B`; `K`, `Ki`, `KiB` and so on are binary; `kB` or `KB`, `MB`, ... are decimal.
MEMORY_SUFFIXES: dict[str, int] = (
    {"B": 1}
    | {letter + tail: factor for letter, factor in _BINARY.items() for tail in ("", "i", "iB")}
    | {letter + "B": factor for letter, factor in _DECIMAL.items()}
    | {"kB": 1000}
)
#: The same as a regular expression, for the JSON schema.
MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|kB|[KMGTP](B|i|iB)?)$"
#: What a site file may write for a duration.
DURATION_PATTERN = (
    r"^([0-9]+(\.[0-9]+)?[dhms]|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?|([0-9]+-)?[0-9]+:[0-9]{2}:[0-9]{2})$"
)

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_COMPOUND = re.compile(r"(?=[0-9])(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_CLOCK = re.compile(r"(?:([0-9]+)-)?([0-9]+):([0-9]{2}):([0-9]{2})")
_KUBERNETES = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?")
#: Longer numbers are typing accidents; the limit keeps arithmetic on hostile input cheap.
_LONGEST = 32


# An exabyte and a century: a number beyond is a slip, and would overflow where it is counted in 64 bits.
_MOST_BYTES, _MOST_S = 2**60, 100 * 366 * 86_400


def parse_memory(text: object) -> int:
    """Bytes from their one spelling everywhere: `80GiB` = `80Gi` = `80G` (binary), `80GB` (decimal), `4096B`.

    Fractions are rounded up to a whole byte. Raises ValueError saying what to write instead.
    """
    example = "write a number with a unit, such as 80GiB, 2000M or 500MB"
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit; {_meant(text)}")
    if not isinstance(text, str):
        raise ValueError(f"not an amount of memory; {example}")
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"'{text[:_LONGEST]}' is not an amount of memory; {example}")
    number, suffix = match.groups()
    if not suffix:
        raise ValueError(f"'{text}' has no unit; {_meant(number)}")
    if suffix not in MEMORY_SUFFIXES:
        meant = next((known for known in MEMORY_SUFFIXES if known.upper() == suffix.upper()), None)
        hint = f"did you mean '{number}{meant}'?" if meant else example
        raise ValueError(f"'{suffix}' is not a unit of memory; {hint}")
    amount = math.ceil(Fraction(number) * MEMORY_SUFFIXES[suffix])
    if amount == 0:
        raise ValueError(f"'{text}' is no memory at all; leave it out for the default")
    if amount > _MOST_BYTES:
        raise ValueError(f"'{text}' is more than any machine has; {example}")
    return amount


def _meant(number: object) -> str:
    """With which units a number is an amount of memory that machines have."""
    size = float(str(number))
    first, second = ("GiB", "MiB") if size < 2**10 else ("MiB", "B") if size < 2**20 else ("B", "kB")
    return f"did you mean '{number}{first}' or '{number}{second}'?"


def parse_bytes(given: object) -> int:
    """Bytes where a number alone means bytes: `40000`, 40000, 4e4, or what `parse_memory` reads.

    >>> parse_bytes("40000") == parse_bytes(4e4) == parse_bytes("40kB") == parse_bytes("40000B")
    True
    """
    if isinstance(given, str) and given.isascii() and given.isdecimal():
        given += "B"
    if isinstance(given, (int, float)) and not isinstance(given, bool) and given == given // 1:
        given = f"{int(given)}B"
    return parse_memory(given)


def bytes_option(name: str, given: object) -> int | None:
    """What `parse_bytes` reads of an option of that name, else UsageError. None and 0 stay what they are."""
    if given is None or given == 0:
        return None if given is None else 0
    try:
        return parse_bytes(given)
    except ValueError as error:
        raise UsageError(f"{name}={given!r}: {error}") from error


def format_memory(n_bytes: int) -> str:
    """The shortest exact spelling that `parse_memory` reads back: `80GiB`, `1536MiB`, `4097B`."""
    for letter in "PTGMK":
        if n_bytes and n_bytes % _BINARY[letter] == 0:
            return f"{n_bytes // _BINARY[letter]}{letter}iB"
    return f"{n_bytes}B"


def parse_duration(text: object) -> int:
    """Seconds from the spelling of a site file: `12h`, `90m`, `1h30m`, `1.5h`, `04:00:00`, `1-12:00:00`.

    Two fields (`90:00`) are refused: Slurm reads them as minutes and seconds, people as hours and minutes.
    Raises ValueError saying what to write instead.
    """
    example = "write 12h, 90m, 04:00:00 or 1-12:00:00"
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit; did you mean '{text}h', '{text}m' or '{text}s'?")
    if not isinstance(text, str):
        raise ValueError(f"not a duration; {example}")
    seconds = _seconds(text) if len(text) <= _LONGEST else None
    if seconds is None:
        raise ValueError(_why_no_duration(text[:_LONGEST], example))
    if seconds.denominator != 1:
        raise ValueError(f"'{text}' is not a whole number of seconds; {example}")
    if seconds == 0:
        raise ValueError(f"'{text}' is no time at all; leave it out for the default")
    if seconds > _MOST_S:
        raise ValueError(f"'{text}' is more than a hundred years; {example}")
    return int(seconds)


def _seconds(text: str) -> Fraction | None:
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        if minutes > 59 or seconds > 59 or (clock[1] and hours > 23):
            return None
        return Fraction(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    if compound := _COMPOUND.fullmatch(text):
        return Fraction(
            sum(int(part or 0) * _SECONDS[unit] for part, unit in zip(compound.groups(), "dhms", strict=True))
        )
    quantity = _QUANTITY.fullmatch(text)
    if quantity and quantity[2] in _SECONDS and " " not in text:
        return Fraction(quantity[1]) * _SECONDS[quantity[2]]
    return None


def _why_no_duration(text: str, example: str) -> str:
    if re.fullmatch(r"[0-9]+:[0-9]+", text):
        first, second = text.split(":")
        return f"'{text}' is ambiguous (hours:minutes or minutes:seconds?); did you mean '{first}:{second:0>2}:00'?"
    if re.fullmatch(r"[0-9]+", text):
        return f"'{text}' has no unit; did you mean '{text}h', '{text}m' or '{text}s'?"
    words = {"min": "m", "hour": "h", "hr": "h", "day": "d", "sec": "s", "minute": "m", "second": "s"}
    match = _QUANTITY.fullmatch(text)
    unit = match[2].lower().removesuffix("s") if match else ""
    if match and (unit in words or unit in _SECONDS or match[2].lower() in _SECONDS):
        return f"'{match[2]}' is not a unit of time; did you mean '{match[1]}{words.get(unit, match[2][0].lower())}'?"
    return f"'{text}' is not a duration; {example}"


def format_duration(seconds: int) -> str:
    """The shortest exact spelling that `parse_duration` reads back: `12h`, `90m`, `3d`, `61s`."""
    unit, length = next((u, s) for u, s in _SECONDS.items() if seconds % s == 0)
    return f"{seconds // length}{unit}"


def to_slurm_mb(n_bytes: int) -> int:
    """What to write after `--mem=`: Slurm's MB are MiB; rounded up, so a job never gets less than was asked."""
    return _up(n_bytes, 2**20)


def from_slurm(text: str) -> int:
    """Bytes from `9216M`, `9G`, `9216` (MB by default) or a fractional `1.50G` as sacct and scontrol print them.

    Slurm's K, M, G, T, P are powers of 1024 (sbatch manual, --mem). Raises ValueError.
    """
    return _batch_memory(text, default="M", tail="", system="Slurm")


def to_slurm_time(seconds: int) -> str:
    """`D-HH:MM:SS`, or `HH:MM:SS` under a day: the one spelling of a time limit Slurm cannot misread."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def from_slurm_time(text: str) -> int | None:
    """Seconds from any spelling Slurm prints or takes (sbatch manual, --time); None for `UNLIMITED`.

    Minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds.
    Raises ValueError.
    """
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return None
    match = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+(?::[0-9]+){0,2})", text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"'{text[:_LONGEST]}' is not a time limit of Slurm")
    parts = [int(part) for part in match[2].split(":")]
    if match[1] is not None:
        lengths: tuple[int, ...] = (3600, 60, 1)
    else:
        lengths = {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}[len(parts)]
    return int(match[1] or 0) * 86400 + sum(n * length for n, length in zip(parts, lengths, strict=False))


def to_htcondor_mb(n_bytes: int) -> int:
    """What to write after `request_memory =`: HTCondor's MB are MiB; rounded up."""
    return _up(n_bytes, 2**20)


def to_htcondor_kb(n_bytes: int) -> int:
    """What to write after `request_disk =`: HTCondor's KB are KiB; rounded up."""
    return _up(n_bytes, 2**10)


def from_htcondor(text: str, default: Literal["K", "M"]) -> int:
    """Bytes from `9216`, `9 GB`, `9G`: binary units; without one the attribute's own (memory M, disk K).

    Source: condor_submit manual, request_memory and request_disk. Raises ValueError.
    """
    return _batch_memory(text, default=default, tail="B", system="HTCondor")


def to_kubernetes(n_bytes: int) -> str:
    """An exact Kubernetes quantity: `9Gi`, or plain bytes where no binary unit divides."""
    return format_memory(n_bytes).removesuffix("B")


def from_kubernetes(text: str) -> int:
    """Bytes from a Kubernetes quantity: `9Gi` (binary), `9G` (decimal), `1e9`, `128974848`, `500m` (milli).

    Rounded up to a whole byte, as the API server does. Raises ValueError.
    """
    match = _KUBERNETES.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"'{text[:_LONGEST]}' is not a Kubernetes quantity")
    number, binary, decimal, exponent = match.groups()
    factor = Fraction(1)
    if binary:
        factor = Fraction(1024) ** ("KMGTPE".index(binary[0]) + 1)
    elif decimal:
        factor = Fraction(1000) ** ({"n": -3, "u": -2, "m": -1, "k": 1}.get(decimal) or "kMGTPE".index(decimal) + 1)
    elif exponent:
        factor = Fraction(10) ** int(exponent)
    return math.ceil(Fraction(Decimal(number)) * factor)


def _batch_memory(text: str, *, default: str, tail: str, system: str) -> int:
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    suffix = match[2].upper() if match else ""
    letter = suffix.removesuffix(tail) if len(suffix) > 1 else suffix or default
    if match is None or letter not in _BINARY:
        raise ValueError(f"'{text[:_LONGEST]}' is not an amount of memory of {system}")
    return math.ceil(Fraction(match[1]) * _BINARY[letter])


def _up(n_bytes: int, unit: int) -> int:
    return -(-n_bytes // unit)
