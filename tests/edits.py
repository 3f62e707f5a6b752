"""An analysis file with a module beside it, and random edits of both: some that `process` can reach, some it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

__all__ = ["REACHED", "UNREACHED", "apply", "write_analysis"]

ANALYSIS = '''
"""Counts muons in many ways."""
import functools

import numpy as np
from numba import njit

import cuts
from cuts import Base, scaled
from cuts import far as distant
from vrecompute import Analysis, Parameter, Result
from vrecompute.eventloop import declared_columns, run_loop
from vrecompute.kernels.eventloop import EventLoop

PT_MIN_GEV = 20.0  # CONSTANT
NAMES = {"muon": "Muon_{}"}
loop = EventLoop(pt=np.linspace(0.0, 400.0, 11))


def times(factor):
    """A decorator."""

    def decorate(function):
        @functools.wraps(function)
        def inner(*arguments):
            return factor * function(*arguments)

        return inner

    return decorate


def above(threshold):
    return lambda pt: pt > threshold


above_gev = above(30.0)  # CLOSURE


def helper(pt):
    return np.sum(pt > PT_MIN_GEV + 1.0)  # HELPER


@njit
def compiled(pt):
    total = 0.0
    for value in pt:
        total += value * 1.0  # COMPILED
    return total


@times(2.0)  # DECORATOR
def decorated(pt):
    return float(np.max(pt, initial=0.0))


def unused(pt):
    return pt - 1.0  # UNUSED


@loop.step
def fill(muon, event, pt, cut):
    cut.mu("events")
    for i in range(len(muon)):
        if muon.pt[i] > 20.0:  # STEP
            pt.fill(muon.pt[i], event.weight)


class Muons(Base, Analysis):
    """Muons."""

    name = "muons"
    title = "Muons"  # TITLE
    scale = 1.0  # ATTRIBUTE
    finish_function = "myfinish:finish"
    parameters = (Parameter("label", "x", "of the figure", type=str, stage="finish"),)  # PARAMETER

    def columns(self, source):
        return declared_columns(loop, NAMES, source)

    def process(self, events, factor=1.0):  # DEFAULT
        """What this does."""
        pt = events.flat("Muon_pt").astype(float)
        result = run_loop(loop, events, NAMES)
        result.counters |= {
            "helper": float(helper(pt)),
            "above": float(np.sum(above_gev(pt))),
            "compiled": compiled(pt),
            "decorated": decorated(pt),
            "scaled": scaled(pt) * factor * self.scale,
            "sibling": cuts.select(pt) + distant.away(pt),
            "late": self.late(pt),
            "base": self.base(pt),
        }
        return result

    def late(self, pt):
        from cuts.late import shifted

        return shifted(pt)
'''
CUTS = """
from cuts import far

LIMIT_GEV = 25.0  # SIBLING CONSTANT
UNUSED = 1.0  # SIBLING UNUSED


def select(pt):
    return float((pt > LIMIT_GEV).sum())


def scaled(pt, by=1.0):  # SIBLING DEFAULT
    return float(pt.sum() * by * 1.0)  # SIBLING FUNCTION


class Base:
    offset = 1.0  # BASE ATTRIBUTE

    def base(self, pt):
        return float(len(pt)) + self.offset * 1.0  # BASE METHOD
"""
FAR = "def away(pt):\n    return float((pt > 10.0).sum())  # FAR\n\n\ndef never(pt):\n    return 1.0  # FAR UNUSED\n"
LATE = "def shifted(pt):\n    return float((pt + 1.0).sum())  # LATE\n"
FINISH = """
from cuts import LIMIT_GEV


def finish(results, analysis, context):
    return {"weight": 1.0, "limit": LIMIT_GEV}  # FINISH


def figures(products, results, context):
    return [] * int(1.0)  # FIGURES
"""
FILES = {"ana.py": ANALYSIS, "cuts/__init__.py": CUTS, "cuts/far.py": FAR, "cuts/late.py": LATE, "myfinish.py": FINISH}
# The comment at the end of a line whose number an edit changes.
REACHED = (
    *("CONSTANT", "CLOSURE", "HELPER", "COMPILED", "DECORATOR", "STEP", "ATTRIBUTE", "DEFAULT", "SIBLING CONSTANT"),
    *("SIBLING DEFAULT", "SIBLING FUNCTION", "BASE ATTRIBUTE", "BASE METHOD", "FAR", "LATE"),
)
_UNREACHED_NUMBERS = ("UNUSED", "SIBLING UNUSED", "FAR UNUSED", "FINISH", "FIGURES")
UNREACHED = (*_UNREACHED_NUMBERS, "comment", "docstring", "formatting", "title", "help", "new function", "place")


def write_analysis(folder: Path) -> Path:
    """The analysis as it is before any edit; its file."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "ana.py"


def apply(folder: Path, kind: str, random: Random) -> Path:
    """Make one edit of a kind; the analysis file, which another place has after the edit `place`."""
    if kind in REACHED or kind in _UNREACHED_NUMBERS:
        for name in FILES:
            text = (folder / name).read_text()
            value = f"{random.uniform(1.1, 60.0):.6g}"
            made = re.sub(rf"\\d+\\.\\d+(?=\\D*  # {kind}$)".replace("\\\\", "\\"), value, text, flags=re.MULTILINE)
            if made != text:
                (folder / name).write_text(made)
                return folder / "ana.py"
        raise AssertionError(kind)
    name = random.choice([n for n in FILES if n != "myfinish.py"])
    file, text = folder / name, (folder / name).read_text()
    if kind == "comment":
        lines = text.splitlines()
        place = random.choice([n for n, line in enumerate(lines) if line.startswith(("def ", "class ", "import "))])
        lines.insert(place, f"# comment {random.random()}")
        text = "\n".join(lines) + "\n"
    elif kind == "docstring":
        with_docstring = rf'def \1(\2):\3\n    """{random.random()}"""'
        text = re.sub(r"^def (\w+)\((.*)\):(.*)$", with_docstring, text, flags=re.MULTILINE)
    elif kind == "formatting":
        wider = {", ": ",  ", " = ": "  =  ", "\n\n\n": "\n\n\n\n"}
        chosen = random.choice(list(wider))
        text = text.replace(chosen, wider[chosen])
        whole = r"return ((?:[^()\n#]|\([^()\n]*\))+?)( +#.*)?$"
        text = re.sub(whole, r"return (\n            \1\n    )\2", text, count=3, flags=re.MULTILINE)
    elif kind in ("title", "help"):
        file, text = folder / "ana.py", (folder / "ana.py").read_text()
        text = re.sub(r"\".*\"(?=  # TITLE)" if kind == "title" else '(?<="x", )"[^"]*"', f'"{random.random()}"', text)
    elif kind == "new function":
        text += f"\n\ndef new_{random.randrange(10**9)}():\n    return LIMIT_GEV\n"
    else:
        moved = folder / f"place{random.randrange(10**9)}"
        moved.mkdir()
        for item in list(folder.iterdir()):
            if item != moved and not item.name.startswith(("place", "__pycache__")):
                item.rename(moved / item.name)
        return moved / "ana.py"
    file.write_text(text)
    return folder / "ana.py"
