"""Reading what another user's run gave is safe; running that user's code is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute.cli import main
from vrecompute.errors import UntrustedRun
from vrecompute.sites.model import Site
from vrecompute.stores.directory import DirStore
from vrecompute.stores.ownership import Owner

STRANGER = 65534
# Says where it was imported, once the environment asks for it.
TELLTALE = """
import os
if "TELLTALE" in os.environ:
    open(os.environ["TELLTALE"], "a").write("imported\\n")

def finish(results, analysis, context):
    return {"number": 1.0}

def figures(products, results, context):
    path = context.directory / "one.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return [path]
"""


@pytest.fixture(params=["chown", "owner"])
def stranger(request, monkeypatch):
    """`stranger(run)`: from now on the run is another user's; for real where the tests may change owners."""

    def change(run) -> str:
        if request.param == "chown":
            if os.getuid() != 0:
                pytest.skip("only root may give a file to another user")
            os.chown(Path(run.store.url) / run.manifest.object_name, STRANGER, -1)
            return run.store.get_owned(run.manifest.object_name)[1].name
        monkeypatch.setattr(DirStore, "get_owned", owned_by(Owner("alice")))
        return "alice"

    return change


@pytest.fixture
def run(client, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    named = 'finish_function = "sums:finish"\n    figures_function = "sums:figures"\n    '
    text = SUM_ANALYSIS.replace('name = "', f'{named}name = "', 1)
    assert text != SUM_ANALYSIS
    (tmp_path / "sums.py").write_text(text + TELLTALE)
    ended = client.run(str(tmp_path / "sums.py"), str(write_events(tmp_path / "good.root", 100, clusters=2))).wait(60)
    assert ended.status == "complete", ended.report().failures
    monkeypatch.setenv("TELLTALE", str(tmp_path / "telltale"))
    return ended


def owned_by(owner):
    """`DirStore.get_owned` where all is that owner's."""
    real = DirStore.get_owned
    return lambda self, name, **given: (real(self, name, **given)[0], owner)


def invoke(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_reading_imports_nothing_of_another_user(run, stranger, tmp_path, capsys):
    user = stranger(run)
    out, store = tmp_path / "out", run.store.url
    assert invoke("runs", "result", run.id, "--store", store, "--out", out) == 0
    assert invoke("runs", "report", run.id, "--store", store) == 0
    assert invoke("runs", "attach", run.id, "--store", store, "--out", out) == 0
    assert not (tmp_path / "telltale").exists()
    assert (out / "result" / "result.zip").is_file()
    assert not (out / "figures").exists()
    warnings = json.loads((out / "report.json").read_text())["warnings"]
    assert any(w.startswith("no figures: ") and user in w and "--trust" in w for w in warnings)
    assert invoke("runs", "result", run.id, "--store", store, "--out", out, "--trust") == 0
    assert (tmp_path / "telltale").exists()
    assert (out / "figures" / "one.svg").is_file()


def test_the_code_of_another_user_is_not_resumed_unasked(run, stranger, tmp_path, capsys):
    for name in list(run.store.names(f"runs/{run.id}/outcomes")):
        run.store.delete(name)
    user = stranger(run)
    assert invoke("runs", "attach", run.id, "--store", run.store.url) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"was made by the user '{user}'" in said
    assert "would run as you" in said
    assert not (tmp_path / "telltale").exists()
    assert invoke("runs", "attach", run.id, "--store", run.store.url, "--trust", "--workers", "1") == 0
    assert (tmp_path / "telltale").exists()


def test_a_site_lists_whom_it_trusts(run, stranger, client, tmp_path, monkeypatch):
    user = stranger(run)
    with pytest.raises(UntrustedRun, match=f"list {user} in store.trusted_users"):
        client.attach(run.id).analysis()
    monkeypatch.setattr(client.site.store.__class__, "trusted_users", (user,), raising=False)
    object.__setattr__(client.site.store, "trusted_users", (user,))
    try:
        assert client.attach(run.id).analysis().name == run.manifest.analysis
    finally:
        object.__setattr__(client.site.store, "trusted_users", Site(name="x", backend="local").store.trusted_users)


def test_a_store_without_owners_trusts_no_run(run, client, monkeypatch):
    monkeypatch.setattr(DirStore, "get_owned", owned_by(Owner()))
    with pytest.raises(UntrustedRun, match="has no known owner"):
        client.attach(run.id).analysis()
    assert run.analysis().name == run.manifest.analysis  # this process submitted it
