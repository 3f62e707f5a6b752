"""Statements of README and docs that can be checked: snippets run as they stand, tables say what the code says."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest

from vrecompute import Client, units
from vrecompute.cli import main
from vrecompute.config.spelling import read_flag
from vrecompute.sites.drivers import OptionsModel
from vrecompute.sites.load import examine_site

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "backends" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text(page), re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small `vrecompute-demo/sample`, README's zmumu.py, and what README's commands leave of it."""
    folder = tmp_path_factory.mktemp("newcomer")
    (code,) = (b for b in blocks("README.md") if "class ZMuMu" in b)
    (folder / "zmumu.py").write_text(code)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VRECOMPUTE_STORE", str(folder / "store"))
        os.chdir(folder)
        try:
            assert command("generate", "vrecompute-demo/sample", "--events", "40000", "--files", "2") == 0
            (line,) = re.findall(r"^vrecompute (run zmumu\.py .*)$", text("README.md"), re.MULTILINE)
            assert command(*line.split(), "--workers", "1") == 0
            yield folder
        finally:
            os.chdir(before)


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()):
        main(list(words))
    return int(ended.value.code or 0)


def test_the_notebook_lines_of_readme_run_as_they_stand(place):
    (code,) = (b for b in blocks("README.md") if b.startswith("from vrecompute import Client") and "dilepton" in b)
    space: dict = {}
    exec(code, space)
    assert 80 < space["run"].products()["channels"]["mumu"]["z_peak"]["mass_gev"] < 100
    assert {p.name for p in Path("mumu").iterdir() if not p.name.startswith(".")} == {
        *("report.html", "report.json", "result", "products", "figures")
    }


def test_the_mapped_function_of_readme_gives_what_it_says(place, capsys):
    (code,) = (b for b in blocks("README.md") if "client.map(" in b)
    code = re.sub(r"^(results\[.*?)  # .*$", r"print(\1)", code, flags=re.MULTILINE)
    space: dict = {}
    exec(code.replace("Client()", "Client(workers=1)"), space)
    generated = space["results"]["generated"]
    assert capsys.readouterr().out.splitlines()[0] == str(generated.counters["muons"])
    hard = generated.arrays["hard_pt"].values
    assert 0 < len(hard) < generated.counters["muons"]
    assert (hard > 100).all()
    with pytest.raises(KeyError, match=r"no sample 'muons' .*; write results\['generated'\]\.counters\['muons'\]"):
        space["results"]["muons"]


def test_the_reading_snippet_reads_what_readme_s_zmumu_run_left(place, capsys):
    (code,) = blocks("docs/result-format.md")
    exec(code, {})
    events, cuts, filled, ends = re.match(r"None (\d+) (\{.*\}) ([\d.]+) \[(.*)\]", capsys.readouterr().out).groups()
    assert int(events) == 40000
    assert 0 < float(filled) <= json.loads(cuts.replace("'", '"'))["opposite_sign"]
    assert ends.split() == ["60.", "120."]


def test_the_results_of_the_notebook_page_are_what_it_says(place):
    (code,) = (b for b in blocks("docs/notebooks.md") if "results.pandas()" in b)
    space: dict = {}
    exec(code.replace("Client()", "Client(workers=1)"), space)
    mass = space["mass"]
    assert (mass.axes.name, mass.axes[0].label) == (("mass",), "m [GeV]")
    assert mass.values().tolist() == space["results"]["generated"].histograms["mass"].values().tolist()
    assert space["cutflow"].loc[("generated", "mumu", "events"), "events"] == 40000
    assert "<svg" in space["results"]._repr_html_()


def test_the_skim_example_runs_on_the_demo_sample(place):
    (place / "skim.py").write_text(blocks("docs/column-wise.md")[0])
    with Client(workers=1) as client:
        run = client.run("skim.py", "vrecompute-demo/sample")
        assert run.report(timeout_s=120).status == "complete"
        assert run.tables("muons")
        assert run.table("muons").column_names == ["entry", "pt_gev", "weight"]


def test_the_result_file_is_as_its_page_says(place):
    data = Path("zmumu/result/result.zip").read_bytes()
    assert hashlib.sha256(data).hexdigest() == json.loads(Path("zmumu/report.json").read_text())["result_sha256"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        assert [m.filename for m in members] == sorted(m.filename for m in members)
        assert {m.compress_type for m in members} == {zipfile.ZIP_STORED}
        assert {m.date_time[:3] for m in members} == {(1980, 1, 1)}
        for member in members:
            if member.filename.endswith(".npy"):
                assert np.load(io.BytesIO(archive.read(member)), allow_pickle=False).flags.c_contiguous


def test_objects_of_a_store_prove_themselves_by_the_recipes_of_the_page(place):
    parts = list(Path("store").glob("work/*/parts/*.zip"))
    assert parts
    assert all(p.stem == hashlib.sha256(p.read_bytes()).hexdigest() for p in parts)
    documents = [p for pattern in ("runs/*/manifest.json", "runs/*/outcomes/*.json", "sources/*.json") for p in
                 Path("store").glob(pattern)]  # fmt: skip
    assert len({p.parts[1] for p in documents}) == 2
    for path in documents:
        document = json.loads(path.read_bytes())
        said = document.pop("sha256")
        assert hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).hexdigest() == said
        assert document["format"].startswith("vrecompute-")
        assert (document["version"], document["of"]) == (3, str(path.relative_to("store")))


def test_a_store_is_made_for_its_user_alone(place):
    assert (place / "store").stat().st_mode & 0o777 == 0o700


def test_every_command_and_option_of_the_table_exists():
    table = text("README.md").split("## The command line\n\n```\n")[1].split("```")[0]
    for line in table.splitlines():
        words = line.removeprefix("vrecompute ").split()
        for name in words[1].split("|") if words[0] in {"runs", "site", "store", "dataset"} else [""]:
            found = at([words[0], *([name] if name else [])])
            options = {o for p in found.params for o in p.opts}
            assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line.split("   ")[0])) <= options, line


def at(words: list[str]) -> click.Command:
    from vrecompute.cli import cli

    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, words
        found = inner
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_extras_parameters_and_variables_that_pages_name_exist(page):
    from vrecompute.analysis.loading import load_analysis

    said = page.read_text(encoding="utf-8")
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    for names in re.findall(r"vrecompute\[([a-z,]+)\]", said):
        assert set(names.split(",")) <= set(extras)
    for analysis, rest in re.findall(r"vrecompute run (dilepton|dwarfs) ([^#`\n]*)", said):
        for name in re.findall(r"-p (\w+)=", rest):
            assert name in load_analysis(analysis, {})[0].values, name
    sources = [p.read_text() for folder in ("vrecompute", "backends", "containers") for p in (ROOT / folder).rglob("*")
               if p.is_file() and p.suffix != ".pyc"]  # fmt: skip
    for name in set(re.findall(r"\bVRECOMPUTE_[A-Z]+(?:_[A-Z]+)*\b", said)):
        assert any(name in source for source in sources), name


def test_values_are_read_as_the_table_of_sites_says():
    memory = {"80GiB": 80 << 30, "80Gi": 80 << 30, "80G": 80 << 30, "80GB": 80 * 10**9, "4096B": 4096}
    seconds = {"12h": 43200, "90m": 5400, "1h30m": 5400, "1.5h": 5400, "2d": 172800, "45s": 45, "04:00:00": 14400,
               "1-12:00:00": 129600}  # fmt: skip
    table = text("docs/sites.md").split("## Values")[1].split("Inside,")[0]
    for written, wanted in memory.items():
        assert f"`{written}`" in table
        assert units.parse_memory(written) == wanted
    for written, wanted in seconds.items():
        assert f"`{written}`" in table
        assert units.parse_duration(written) == wanted
    with pytest.raises(ValueError, match="12:30"):
        units.parse_duration("12:30")
    with pytest.raises(ValueError, match="no unit"):
        units.parse_memory(80)
    with pytest.raises(ValueError, match="expected true or false"):
        read_flag("yes")
    nine = units.parse_memory("9GiB")
    assert (units.to_slurm_mb(nine), units.to_htcondor_mb(nine), units.to_kubernetes(nine)) == (9216, 9216, "9Gi")


def test_the_first_example_of_sites_is_right_and_needs_no_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("VRECOMPUTE_SITES", str(ROOT / "site_configs"))
    (tmp_path / "mycluster.yaml").write_text(blocks("docs/sites.md", "yaml")[0])
    found = examine_site(tmp_path / "mycluster.yaml", lambda backend: OptionsModel(None))
    assert (found.problems, found.read.advice) == ((), ())


def test_a_site_file_has_about_forty_lines():
    queues = [path for path in (ROOT / "site_configs").glob("*.yaml") if path.stem != "local"]
    assert queues
    for path in queues:
        assert 20 <= len(path.read_text().splitlines()) <= 60, path.name


def test_the_keys_of_dataset_files_are_those_of_the_schema():
    table = text("docs/datasets.md").split("| key | |")[1].split("\n\n")[0]
    told = {name for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    schema = json.loads(text("docs/dataset.schema.json"))
    known = set(schema["properties"])
    of_a_file = {"path", "entries", "sha256", "adler32", "size_bytes", "replicas"}  # in the row of `files`
    for definition in schema["$defs"].values():
        known |= set(definition.get("properties", ())) - of_a_file
    (row,) = re.findall(r"^\| `files` \| (.*)$", table, re.MULTILINE)
    assert of_a_file <= set(re.findall(r"`(\w+)`", row))
    assert told | {"extends"} >= known
    assert told <= known | {"path", "entries", "tree"}


def test_what_preflight_reads_of_a_file_is_what_the_page_says():
    from vrecompute.reader.identity import SAMPLE_BYTES, SAMPLES, sampled_content

    assert "at most eight pieces of 32 KiB" in text("docs/architecture.md")
    assert (SAMPLES, SAMPLE_BYTES) == (8, 32 << 10)
    for size, reads in {256 << 10: 1, (256 << 10) + 1: 8}.items():
        asked: list[tuple[int, int]] = []
        sampled_content(SimpleNamespace(size=size, read_ranges=lambda pieces, into, a=asked: a.extend(pieces.tolist())))
        assert len(asked) == reads
        assert (asked[0][0], asked[-1][1]) == (0, size)


def test_the_default_chunk_is_the_one_that_slurm_s_page_names():
    from vrecompute.execution.chunk_bounds import DEFAULT_CHUNK_BYTES

    assert "32 MiB of columns by default" in text("docs/slurm.md")
    assert DEFAULT_CHUNK_BYTES == 32 << 20


def test_no_extra_and_no_description_names_what_no_code_uses():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    drivers = set(project["entry-points"]["vrecompute.backends"])
    for name in ("kubernetes", "rucio"):
        assert name in drivers or (name not in project["optional-dependencies"])
        assert name in drivers or name not in project["description"].lower()


def test_the_plain_dask_client_is_there_and_speaks_tls():
    from distributed import Client as DaskClient

    with Client(workers=1) as client:
        assert type(client.dask) is DaskClient
        assert client.dask.scheduler.address.startswith("tls://127.0.0.1")


def test_every_example_is_python_and_a_loop_shows_its_module(tmp_path):
    for page in PAGES:
        for code in blocks(str(page.relative_to(ROOT))):
            compile(code, str(page), "exec")
    path = tmp_path / "page.py"
    path.write_text(blocks("docs/event-loops.md")[0])
    spec = importlib.util.spec_from_file_location("page_of_loops", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_of_loops"] = module
    try:
        spec.loader.exec_module(module)
        assert "def " in module.loop.source()
    finally:
        del sys.modules["page_of_loops"]
