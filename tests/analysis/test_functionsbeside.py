"""`finish` and `figures` beside the class of FILE.py: theirs without a word, and outside of what workers run."""

from __future__ import annotations

import json
import textwrap

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute.analysis.loading import load_analysis
from vrecompute.errors import UsageError

FUNCTIONS = """
import mplhep
from matplotlib.figure import Figure


def finish(results, analysis, context):
    return {"weights": sum(r.counters["weights"] for r in results.values()), "cut": analysis["pt_min_gev"]}


def figures(products, results, context):
    figure = Figure(figsize=(3, 2))
    mplhep.histplot(results.hist("pt"), ax=figure.subplots())
    figure.savefig(context.directory / "pt.png", metadata={"Software": None})
    return [context.directory / "pt.png"]
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 200, clusters=2))


def test_functions_beside_the_class_are_carried_out_and_an_edit_of_them_recomputes_nothing(client, events, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FUNCTIONS + SUM_ANALYSIS)
    run = client.run(str(file), events)
    weights = run.result(timeout_s=120)["events"].counters["weights"]
    assert run.products() == {"weights": weights, "cut": 10.0}
    run.save(tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "pt.png").read_bytes().startswith(b"\x89PNG")
    assert 'alt="pt"' in (tmp_path / "out" / "report.html").read_text()
    assert run.report().warnings == ()
    # neither is any of it on a worker, though FILE.py imports matplotlib first
    loaded = client.dask.run(lambda: sorted({"matplotlib", "mplhep"} & set(__import__("sys").modules)))
    assert list(loaded.values()) == [[]]
    file.write_text(FUNCTIONS.replace('analysis["pt_min_gev"]', "7").replace("(3, 2)", "(4, 2)") + SUM_ANALYSIS)
    again = client.run(str(file), events)
    assert again.report(timeout_s=120).chunks.computed == 0
    assert again.products()["cut"] == 7


def test_figures_need_no_finish(client, events, tmp_path):
    text = FUNCTIONS[: FUNCTIONS.index("def finish")] + FUNCTIONS[FUNCTIONS.index("def figures") :]
    (tmp_path / "mine.py").write_text(text + SUM_ANALYSIS)
    run = client.run(str(tmp_path / "mine.py"), events)
    run.result(timeout_s=120)
    assert run.products() == {}
    run.save(tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "pt.png").is_file()


def test_figures_that_raise_are_a_warning_that_names_them(client, events, tmp_path):
    (tmp_path / "mine.py").write_text(
        SUM_ANALYSIS + "\n\ndef figures(products, results, context):\n    return results['dy']\n"
    )
    run = client.run(str(tmp_path / "mine.py"), events)
    run.result(timeout_s=120)
    with pytest.warns(UserWarning, match="no figures: figures of 'sums' raised"):
        run.save(tmp_path / "out")
    (warning,) = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert "no figures: " in warning
    assert "no sample 'dy'" in warning


def test_what_the_class_names_comes_first_and_what_cannot_be_called_so_is_an_error(tmp_path):
    named = SUM_ANALYSIS.replace('name = "sums"', 'name = "sums"\n    finish_function = "other:finish"')
    (tmp_path / "a.py").write_text(FUNCTIONS + named)
    analysis, _ = load_analysis(str(tmp_path / "a.py"), {})
    assert analysis.finish_function == "other:finish"
    assert analysis.figures_function.endswith(":figures")
    (tmp_path / "b.py").write_text(SUM_ANALYSIS + "\n\ndef figures(results):\n    pass\n")
    said = r"b.py:\d+: figures beside the .* called as figures\(products, results, context\), and takes \(results\)"
    with pytest.raises(UsageError, match=said):
        load_analysis(str(tmp_path / "b.py"), {})


def test_a_class_of_a_module_has_the_functions_beside_it(tmp_path, monkeypatch):
    (tmp_path / "beside_mine.py").write_text(textwrap.dedent(FUNCTIONS + SUM_ANALYSIS))
    monkeypatch.syspath_prepend(tmp_path)
    from importlib import import_module

    analysis, _ = load_analysis(import_module("beside_mine").Sums, {})
    assert analysis.finish_function == "beside_mine:finish"
