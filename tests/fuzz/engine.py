"""One engine for every fuzz target: inputs are made out of kept ones, and checked under limits of memory and time.

`VRECOMPUTE_FUZZ=900s` runs a target for so many seconds, `VRECOMPUTE_FUZZ=5000` with so many inputs. Such a run by hand
begins with what was kept before below `VRECOMPUTE_FUZZ_CORPUS` (~/.cache/vrecompute/fuzz), and keeps there

    TARGET/inputs/    inputs that had an outcome none before had
    TARGET/faults/    inputs that failed; each run tries them first, and removes those that fail no more
    TARGET/running    the input under way: it is there at the start where it ended the process
    TARGET/hung       where the process was when it ended because an input took minutes
    TARGET/figures    a line a run: inputs tried, seconds, inputs kept, faults

Without the variable the inputs are few, always the same, and only faults are kept.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import logging
import os
import random
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BY_HAND", "Target", "fuzz", "outcome_of"]

BY_HAND = "VRECOMPUTE_FUZZ" in os.environ
MOST_MEMORY_BYTES = 1 << 30
LONGEST_CPU_S, HANG_S = 10.0, 120.0
_LONGEST_INPUT, _MOST_KEPT, _MOST_FAULTS = 1 << 18, 5000, 20
_NUMBERS = [0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
_NUMBERS += [2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
_VALUES = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**40,
    0.5,
    -1e308,
    "",
    "x",
    "9" * 400,
    "../x",
    "\0",
    [],
    {},
    [[]],
    {"": 0},
]


@dataclass(frozen=True)
class Target:
    """What is fuzzed. `check` gives the outcome of an input in a word or a message, and raises for a fault.

    `pieces` are put into inputs, in whole or for one of the words between `space`; `count` is how many inputs CI tries.
    """

    name: str
    seeds: Sequence[bytes]
    check: Callable[[bytes], str]
    count: int
    pieces: Sequence[bytes] = (b"\0", b"\xff" * 8)
    space: bytes = b" "


def outcome_of(error: BaseException) -> str:
    """The kind of an error and its message without names and numbers: equal for errors of one cause."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{8,}|[0-9]+|\S*/\S+", "_", str(error)[:2000])
    return f"{type(error).__name__}: {text[:120]}"


def fuzz(target: Target) -> None:
    """Try the target's seeds, what was kept, and mutations of both; AssertionError with each kind of fault."""
    asked = os.environ.get("VRECOMPUTE_FUZZ", str(target.count))
    seconds, count = (float(asked[:-1]), sys.maxsize) if asked.endswith("s") else (float("inf"), int(asked))
    run = _Run(target)
    began = time.monotonic()
    tried = 0
    logging.disable()  # pytest keeps every line
    try:
        for tried, data in enumerate(run.inputs(), 1):
            run.try_one(data)
            if tried >= count or time.monotonic() - began > seconds or len(run.faults) >= _MOST_FAULTS:
                break
    finally:
        logging.disable(logging.NOTSET)
    figures = f"{tried} inputs in {time.monotonic() - began:.0f} s, {len(run.seen)} outcomes, {len(run.faults)} faults"
    print(f"fuzz {target.name}: {figures}")
    if BY_HAND:
        with (run.folder / "figures").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M')} {figures}\n")
    assert not run.faults, "\n\n".join(run.faults.values())


@dataclass
class _Run:
    target: Target
    seen: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = os.environ.get("VRECOMPUTE_FUZZ_CORPUS") or Path.home() / ".cache" / "vrecompute" / "fuzz"
        self.folder = Path(root).expanduser() / self.target.name
        self.kept = list(self.target.seeds)
        self.chance = random.Random(None if BY_HAND else self.target.name)
        if BY_HAND:
            for name in ("inputs", "faults"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)

    def inputs(self) -> Iterator[bytes]:
        """The seeds, what ended or failed an earlier run, what was kept, then mutations without end."""
        yield from self.target.seeds
        if BY_HAND:
            for path in [self.folder / "running", *sorted((self.folder / "faults").iterdir())]:
                with suppress(FileNotFoundError):
                    data = path.read_bytes()
                    path.unlink()
                    yield data  # one that fails again is written again
            for path in sorted((self.folder / "inputs").iterdir()):
                yield path.read_bytes()
        while True:
            yield _mutated(self.chance, self.kept, self.target)

    def try_one(self, data: bytes) -> None:
        """Check one input; keep it where its outcome is new, or where it fails."""
        if BY_HAND:
            (self.folder / "running").write_bytes(data)
        try:
            with _watched(self.folder / "hung"):
                outcome = _checked(self.target, data)
        except Exception as error:
            self._keep("faults", data)
            self.faults.setdefault(_place(error), self._told(error, data))
        else:
            if outcome not in self.seen:
                self.seen.add(outcome)
                if len(self.kept) < _MOST_KEPT:
                    self.kept.append(data)
                    if BY_HAND:
                        self._keep("inputs", data)
        if BY_HAND:
            (self.folder / "running").unlink()

    def _keep(self, kind: str, data: bytes) -> Path:
        path = self.folder / kind / hashlib.sha256(data).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def _told(self, error: Exception, data: bytes) -> str:
        trace = "".join(traceback.format_exception(error))
        shown = repr(data) if len(data) < 2000 else f"{len(data)} bytes"
        return f"{trace}input {self._keep('faults', data)}: {shown}"


def _place(error: BaseException) -> str:
    """Where an error comes from: its kind, and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} {frame.filename}:{frame.lineno}"


def _checked(target: Target, data: bytes) -> str:
    """The outcome, found with at most a gigabyte more than there was, and in seconds."""
    began = time.process_time()
    with _memory_limit():
        outcome = target.check(data)
    used = time.process_time() - began
    assert used < LONGEST_CPU_S, f"{used:.1f} s of CPU for one input"
    return outcome


@contextmanager
def _watched(path: Path) -> Iterator[None]:
    """By hand, what hangs ends the process; elsewhere pytest's own time limit does."""
    if not BY_HAND:
        yield
        return
    with path.open("w") as file:
        faulthandler.dump_traceback_later(HANG_S, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _memory_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _mutated(chance: random.Random, kept: Sequence[bytes], target: Target) -> bytes:
    data = chance.choice(kept)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        data = chance.choice(_WAYS)(chance, data, kept, target)[:_LONGEST_INPUT]
    return data


def _span(chance: random.Random, data: bytes) -> tuple[int, int]:
    """Some part of the input, more often a short one."""
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 2, 4, 8, 16, 64, 1024, chance.randint(1, len(data) + 1))))


def _flip(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _number(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    """A number of 1 to 8 bytes written over what is there."""
    size = chance.choice((1, 2, 4, 8))
    at = chance.randint(0, len(data))
    number = (chance.choice(_NUMBERS) + chance.choice((0, 0, -1, 1))) % (1 << 8 * size)
    return data[:at] + number.to_bytes(size, chance.choice(("big", "little"))) + data[at + size :]


def _truncate(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    return data[: chance.randint(0, len(data))]


def _delete(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    start, stop = _span(chance, data)
    return data[:start] + data[stop:]


def _repeat(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    start, stop = _span(chance, data)
    return data[:start] + data[start:stop] * chance.choice((2, 3, 50)) + data[stop:]


def _splice(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    """A part of another input in the place of some of this one; half the time of the same length."""
    other = chance.choice(kept)
    start, stop = _span(chance, other)
    at = chance.randint(0, len(data))
    return data[:at] + other[start:stop] + data[at + (stop - start) * chance.randint(0, 1) :]


def _swap(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    a, b, c, d = sorted(chance.randint(0, len(data)) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _insert(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(target.pieces) + data[at:]


def _words(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    """A word replaced by a piece, or taken out, or put elsewhere."""
    words = data.split(target.space)
    at = chance.randrange(len(words))
    match chance.randint(0, 2):
        case 0:
            words[at] = chance.choice(target.pieces)
        case 1:
            words.insert(chance.randint(0, len(words)), words[at])
        case _:
            del words[at]
    return target.space.join(words)


def _lines(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    """A line of this or another input put elsewhere, or taken out."""
    lines = data.splitlines(keepends=True) or [b""]
    if chance.randint(0, 1):
        del lines[chance.randrange(len(lines))]
    else:
        others = chance.choice((data, chance.choice(kept))).splitlines(keepends=True) or [b""]
        lines.insert(chance.randint(0, len(lines)), chance.choice(others))
    return b"".join(lines)


def _json(chance: random.Random, data: bytes, kept: Sequence[bytes], target: Target) -> bytes:
    """Another value somewhere in the first JSON object of the input, or a key less."""
    begin = data.find(b"{")
    if begin < 0:
        return _flip(chance, data, kept, target)
    try:
        text = data[begin:].decode()
        document, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return _flip(chance, data, kept, target)
    holders = [document]
    for holder in holders:
        inner = holder.values() if isinstance(holder, dict) else holder
        holders += [value for value in inner if isinstance(value, dict | list)]
    holder = chance.choice([h for h in holders if h] or [document])
    if not holder:
        return data
    key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    if chance.randint(0, 3):
        holder[key] = chance.choice([*_VALUES, chance.choice(holders)])
    else:
        del holder[key]
    try:
        return data[:begin] + json.dumps(document).encode() + text[end:].encode()
    except ValueError:  # it holds itself
        return data


_WAYS = [_flip, _number, _truncate, _delete, _repeat, _splice, _swap, _insert, _words, _words, _lines, _json, _json]
