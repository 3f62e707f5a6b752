"""Parameters of finish: never part of a chunk's key, parsed from text, light to import."""

from __future__ import annotations

import subprocess
import sys

from tests.analyses.dilepton_toys import OnlyFinish
from vrecompute_analyses.dilepton.finish_parameters import FINISH_PARAMETERS
from vrecompute_analyses.dilepton.search import Settings


def test_no_parameter_of_finish_recomputes_a_chunk():
    assert len({p.name for p in FINISH_PARAMETERS}) == len(FINISH_PARAMETERS)
    assert OnlyFinish(cl="0.9").process_parameters() == {}


def test_values_from_a_command_line_become_settings():
    given = {"fit_range_gev": "250,3000", "limit_widths_percent": "0, 3", "cl": "0.9", "min_events_z": "10"}
    settings = Settings.from_values(OnlyFinish(**given).values)
    assert settings.fit_range_gev == (250.0, 3000.0)
    assert settings.limit_widths_percent == (0.0, 3.0)
    assert (settings.cl, settings.min_events_z) == (0.9, 10)
    assert settings.scan_range_gev == (250.0, 6000.0)


def test_workers_that_import_the_parameters_import_no_fitter():
    """The analysis class includes them, and so every worker does."""
    code = (
        "import sys; import vrecompute_analyses.dilepton.finish_parameters; "
        "print([m for m in ('iminuit', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
