"""The table of scenarios names tests that there are, and as many as are promised."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.slurm.scenarios import SCENARIOS


def test_each_scenario_is_played_by_one_test_and_there_are_twenty():
    here = Path(__file__).parent
    for scenario, where in SCENARIOS.items():
        module, _, words = where.partition(":")
        names = [
            n.name for n in ast.walk(ast.parse((here / f"{module}.py").read_text())) if isinstance(n, ast.FunctionDef)
        ]
        played = [name for name in names if name.startswith("test_") and words in name]
        assert len(played) == 1, f"{scenario}: {played}"
    assert len(SCENARIOS) >= 20
