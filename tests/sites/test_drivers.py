"""Drivers found by entry point, as a stranger brings them: their options are checked, or it is said why not."""

from pathlib import Path

import pytest

from vrecompute.errors import SiteError
from vrecompute.sites.drivers import installed_drivers, options_model
from vrecompute.sites.load import examine_site, read_site
from vrecompute.sites.schema import installed_options, site_schema

MODULE = """\
from vrecompute.batch.capabilities import Capabilities
from vrecompute.sites.rules import Diagnostic, at
from pydantic import BaseModel, ConfigDict, Field

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    queue: str = Field("long", description="Queue of the pool.")

def rules(site):
    if site.workers.threads > 2:
        yield Diagnostic(at("workers.threads", "backend"), "this pool gives two threads; lower it")
    if site.options.get("queue") == "short":
        yield Diagnostic(at("options.queue"), "an hour at most", advice=True)

class Backend:
    options_model = Options
    site_rules = staticmethod(rules)

class Plain:
    pass

class Lone(Backend):
    capabilities = Capabilities(clusters=False, workers=False)
"""
ENTRY_POINTS = """\
[vrecompute.backends]
strangepool = strange_driver:Backend
strangeplain = strange_driver:Plain
strangelone = strange_driver:Lone
strangegone = strange_driver:Gone
strangelib = strange_driver_without_its_library:Backend
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """An installed distribution with five drivers: good, no model, able to little, absent, without its library."""
    info = tmp_path / "strange_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "strange_driver.py").write_text(MODULE)
    (tmp_path / "strange_driver_without_its_library.py").write_text("import library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


def site_with(backend, options="{}"):
    path = Path(f"{backend}.yaml")
    path.write_text(f"schema: 1\nname: x\nbackend: {backend}\noptions: {options}\n")
    return path


def test_options_of_an_installed_driver_are_checked_by_its_own_model():
    assert read_site(site_with("strangepool", "{queue: short}")).options_unchecked == ""
    with pytest.raises(SiteError, match=r"strangepool.yaml:4:11: options: unknown key 'quue'; did you mean 'queue'\?"):
        read_site(site_with("strangepool", "{quue: short}"))


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("strangeplain", "the driver 'strangeplain' declares no options"),
        ("strangelib", "cannot be imported here: No module named 'library_that_is_not_there'"),
        ("strangegone", "cannot be imported here: module 'strange_driver' has no attribute 'Gone'"),
        ("elsewhere", "no driver 'elsewhere' is installed here"),
    ],
)
def test_where_options_cannot_be_checked_it_says_why(backend, reason):
    read = read_site(site_with(backend, "{quue: short}"))
    assert reason in read.options_unchecked
    assert read.site.options == {"quue": "short"}


def test_a_misspelled_driver_is_an_error_that_names_the_right_one():
    assert {"strangepool", "strangeplain"} <= set(installed_drivers())
    [problem] = examine_site(site_with("strangepol")).problems
    assert str(problem) == "strangepol.yaml:3:10: no driver 'strangepol' is installed; did you mean 'strangepool'?"


def test_a_driver_s_own_rules_point_into_the_file_like_any_other():
    path = site_with("strangepool", "{queue: short}\nworkers: {threads: 4}")
    found = examine_site(path)
    assert [str(p) for p in found.problems] == [
        "strangepool.yaml:5:20: workers.threads: this pool gives two threads; lower it"
    ]
    [advice] = read_site(site_with("strangepool", "{queue: short}")).advice
    assert str(advice) == "strangepool.yaml:4:18: options.queue: an hour at most"
    # options that are wrong in form are not asked what they mean; what is wrong elsewhere is said all the same
    found = examine_site(site_with("strangepool", "{quue: short}\nworkers: {threads: 4}"))
    assert [str(p).split(":")[1] for p in found.problems] == ["4", "5"]


def test_what_a_driver_cannot_do_is_advice():
    live, detached = map(str, read_site(site_with("strangelone")).advice)
    assert live.startswith("strangelone.yaml:3:10: backend: its driver opens no Dask cluster")
    assert detached.startswith("strangelone.yaml:3:10: backend: its driver starts no workers in a job")
    assert not read_site(site_with("strangepool")).advice
    *_, gpus = map(str, read_site(site_with("strangelone", "{}\nworkers: {gpus: 2}")).advice)
    assert gpus == "strangelone.yaml:5:17: workers.gpus: its driver asks for no GPUs; leave workers.gpus out"


def test_the_schema_has_the_options_of_installed_drivers():
    models = installed_options()
    assert "strangeplain" not in models
    assert models["strangepool"] is options_model("strangepool").model
    [rule] = site_schema({"strangepool": models["strangepool"]})["allOf"]
    assert rule["if"]["properties"]["backend"] == {"const": "strangepool"}
