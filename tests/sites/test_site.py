"""`Site`: defaults, loading, round trip, layers and the origin of every value."""

import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sites.written import data_of, site_of
from vrecompute.config.marked_yaml import parse_yaml, plain
from vrecompute.errors import SiteError
from vrecompute.sites.drivers import OptionsModel
from vrecompute.sites.layers import merge
from vrecompute.sites.leaves import leaves
from vrecompute.sites.load import examine_site, load_site, read_site
from vrecompute.sites.model import PortRange, Site, local_site
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.rules import slurm_rules

SLURM = OptionsModel(SlurmOptions, rules=slurm_rules)
EXAMPLES = sorted((Path(__file__).parents[2] / "site_configs").glob("*.yaml"))

FULL = """\
schema: 1
name: full
backend: slurm
description: every key there is
access: {ssh: {host: me@login.example.org, user: me, port: 2222, jump: gate.example.org, multiplex: false}}
scheduler_runs: allocation
network: {compute_outbound: proxy, proxy: "http://proxy.example.org:3128", interface: ib0,
          worker_ports: 10000-10100, scheduler_ports: 8786, tls: true}
options: {partition: batch, account: myproject, launcher: srun, whole_node: true, directives: {add: [], drop: [--mem]}}
workers: {processes: 4, threads: 12, memory: 80GiB, walltime: 10:00:00, nodes: {min: 1, max: 16}, sweet_spot: 3h}
store: {url: "s3://vre-runs/prefix", endpoint: "https://object.example.org", credentials: {profile: vre}}
stage: {scratch: "$SCRATCH/vrecompute", mover: login, quota: 2TiB, shared: [/p/project1]}
environment: {modules: [Stages/2026, Python], venv: "${PROJECT}/venv", variables: {OMP_NUM_THREADS: "1", A: $HOME/x}}
limits: {max_jobs: 20, core_hours: 10000, min_poll: 60s}
accounting: {unit: core-hour, watts_per_core: 6.5, pue: 1.1, gco2_per_kwh: 380}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that is the whole search path."""
    monkeypatch.setenv("VRECOMPUTE_SITES", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_every_value_arrives_in_its_own_unit(folder):
    write(folder, full=FULL)
    site = load_site("full")
    assert site.access.kind == "ssh"
    assert site.access.ssh.port == 2222
    assert site.network.worker_ports == PortRange(10000, 10100)
    assert len(site.network.worker_ports) == 101
    assert site.network.scheduler_ports == PortRange(8786, 8786)
    assert (site.workers.memory, site.workers.memory_per_process) == (80 * 2**30, 20 * 2**30)
    assert (site.workers.walltime, site.workers.sweet_spot, site.workers.cores) == (36000, 10800, 48)
    assert site.stage.quota == 2 * 2**40
    assert site.stage.shared == ("/p/project1",)
    assert site.limits.min_poll == 60
    assert site.accounting.pue == 1.1
    assert site.options["directives"] == {"add": [], "drop": ["--mem"]}
    assert SlurmOptions.model_validate(site.options).directives.drop == ("--mem",)


def test_variables_stay_as_written_where_they_are_resolved_on_the_site(folder, monkeypatch):
    monkeypatch.setenv("SCRATCH", "/resolved/too/early")
    write(folder, full=FULL)
    site = load_site("full")
    assert site.stage.scratch == "$SCRATCH/vrecompute"
    assert site.environment.venv == "${PROJECT}/venv"
    assert site.environment.variables == {"OMP_NUM_THREADS": "1", "A": "$HOME/x"}


def test_a_site_is_frozen_can_travel_and_be_compared(folder):
    write(folder, full=FULL)
    site = load_site("full")
    with pytest.raises(FrozenInstanceError):
        site.name = "other"
    with pytest.raises(FrozenInstanceError):
        site.workers.memory = 1
    assert pickle.loads(pickle.dumps(site)) == site
    assert hash(site.workers) == hash(load_site("full").workers)


def test_a_site_written_is_the_site_read(folder):
    write(folder, full=FULL)
    site = load_site("full")
    data = data_of(site)
    assert data["workers"]["memory"] == "80GiB"
    assert data["workers"]["walltime"] == "10h"
    assert site_of(data) == site
    assert site_of(data_of(local_site())) == local_site()


@given(
    memory=st.integers(2**30, 2**50),
    walltime=st.integers(1, 10**7),
    first=st.integers(1, 60000),
    ports=st.integers(1, 5000),  # one process needs two
    max_nodes=st.integers(1, 10**6),
    pue=st.floats(1, 3),
    description=st.text(st.characters(categories=["L", "N", "P"], exclude_characters="$`"), min_size=1, max_size=20),
)
def test_any_site_survives_being_written_and_read(memory, walltime, first, ports, max_nodes, pue, description):
    data = {
        "name": "any",
        "backend": "local",
        "description": description,
        "workers": {"memory": f"{memory}B", "walltime": f"{walltime}s", "nodes": {"max": max_nodes}},
        "network": {"worker_ports": f"{first}-{first + ports}"},
        "accounting": {"pue": pue},
    }
    site = site_of(data)
    assert (site.workers.memory, site.workers.walltime, site.accounting.pue) == (memory, walltime, pue)
    assert site.network.worker_ports == PortRange(first, first + ports)
    assert site_of(data_of(site)) == site


def test_a_wrong_mapping_names_its_keys():
    with pytest.raises(SiteError, match=r"workers: unknown key 'memry'; did you mean 'memory'\?"):
        site_of({"name": "x", "backend": "local", "workers": {"memry": "4GiB"}})


def test_without_any_file_there_is_this_machine(folder):
    site = load_site("local")
    assert site == local_site()
    assert (site.backend, site.access.kind, site.scheduler_runs) == ("local", "local", "client")
    assert site.workers.processes >= 1
    assert site.network.tls


def test_a_file_named_local_goes_before_what_is_built_in(folder):
    write(folder, local="schema: 1\nname: local\nbackend: local\nworkers: {processes: 3}\n")
    assert load_site("local").workers.processes == 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_right_and_needs_no_advice(path):
    found = examine_site(path, lambda backend: SLURM if backend == "slurm" else OptionsModel(None))
    assert found.problems == ()
    assert found.read.advice == ()
    assert found.read.site.name == path.stem
    assert site_of(data_of(found.read.site)) == found.read.site


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        (
            "backend: slurm\nstage: {scratch: /s, mover: login, quota: 1GiB, shared: [/p]}",
            ["stage.mover", "stage.quota", "stage.shared"],
        ),
        ("backend: slurm\naccounting: {watts_per_core: 6}", ["accounting"]),
        (
            "backend: local\nenvironment: {modules: [x], venv: /nowhere, variables: {A: b}}",
            ["environment.modules", "environment.venv", "environment.variables"],
        ),
        (
            "backend: local\nenvironment: {image: x}\nnetwork: {interface: ib9}",
            ["environment.image", "network.interface"],
        ),
        ("backend: local\nscheduler_runs: login", ["scheduler_runs"]),
        ("backend: local\naccess: {ssh: {host: a.example.org}}", ["access.ssh"]),
        ("backend: local\nnetwork: {tls: false}", ["network.tls"]),
    ],
)
def test_a_key_that_nothing_uses_is_never_just_ok(folder, written, keys):
    path = folder / "mine.yaml"
    path.write_text(f"schema: 1\nname: mine\n{written}\n")
    found = examine_site(path)
    assert found.problems == ()
    assert sorted(str(p).split(": ")[1] for p in found.read.advice) == sorted(keys)


def test_examples_name_only_hosts_that_cannot_exist():
    for path in EXAMPLES:
        for word in path.read_text().split():
            if "://" in word and not word.startswith(("s3://", '"s3://')):
                assert "example.org" in word, f"{path.name}: {word}"


# ---- the search path -------------------------------------------------------------------------------------


def test_earlier_folders_of_the_search_path_win(folder, monkeypatch):
    one, two = folder / "one", folder / "two"
    for place, cores in ((one, 1), (two, 2), (folder / "site_configs", 3), (folder / "nothing/vrecompute/sites", 4)):
        place.mkdir(parents=True)
        write(place, here=f"schema: 1\nname: here\nbackend: local\nworkers: {{threads: {cores}}}\n")
    monkeypatch.setenv("VRECOMPUTE_SITES", f"{one}:{two}")
    for cores, place in ((1, one), (2, two), (3, folder / "site_configs"), (4, folder / "nothing/vrecompute/sites")):
        assert load_site("here").workers.threads == cores
        (place / "here.yaml").unlink()
    with pytest.raises(SiteError, match="no site 'here' in"):
        load_site("here")


def test_an_unknown_name_tells_where_was_looked_and_what_was_meant(folder):
    write(folder, juwels=FULL.replace("name: full", "name: juwels"))
    with pytest.raises(SiteError, match=r"no site 'juwls' in .*; did you mean 'juwels'\?"):
        load_site("juwls")


def test_a_path_is_opened_as_it_is(folder):
    (folder / "sub").mkdir()
    write(folder / "sub", full=FULL)
    assert load_site(folder / "sub" / "full.yaml") == load_site("sub/full.yaml")


@pytest.mark.parametrize("path", ["absent.yaml", "."])
def test_a_file_that_cannot_be_opened_is_a_site_error(folder, path):
    with pytest.raises(SiteError, match=r"cannot be read: .*; check the path") as caught:
        load_site(Path(path))
    assert isinstance(caught.value.__cause__, OSError)


# ---- extends ---------------------------------------------------------------------------------------------

BASE = (
    "schema: 1\nname: base\nbackend: local\nworkers: {threads: 2, nodes: {min: 2, max: 8}}\nstage: {shared: [/a, /b]}\n"
)


def test_what_a_file_says_goes_over_what_it_extends(folder):
    write(
        folder,
        base=BASE,
        _queue="workers: {walltime: 3h, threads: 4}\n",
        mine="name: mine\nextends: [base, _queue]\nworkers: {nodes: {max: 9}}\nstage: {shared: [/c]}\n",
    )
    read = read_site("mine")
    workers = read.site.workers
    assert (workers.threads, workers.walltime, workers.nodes.min, workers.nodes.max) == (4, 10800, 2, 9)
    assert read.site.stage.shared == ("/c",)
    assert [path.stem for path in read.files] == ["mine", "base", "_queue"]
    origins = {".".join(path): f"{Path(mark.file).name}:{mark.line}" for path, mark in read.origins.items()}
    assert origins["backend"] == "base.yaml:3"
    assert origins["workers.threads"] == "_queue.yaml:1"
    assert origins["workers.nodes.min"] == "base.yaml:4"
    assert origins["workers.nodes.max"] == "mine.yaml:3"
    assert "workers.memory" not in origins


def test_null_puts_a_key_back_to_its_default(folder):
    write(folder, base=BASE, mine="name: mine\nextends: base\nworkers: {nodes: null}\nstage: {shared: null}\n")
    read = read_site("mine")
    assert (read.site.workers.nodes.max, read.site.workers.threads, read.site.stage.shared) == (None, 2, ())
    assert ("workers", "nodes", "max") not in read.origins


def test_a_name_is_never_inherited(folder):
    write(folder, base=BASE, mine="extends: base\n")
    with pytest.raises(SiteError, match=r"mine.yaml:1:1: 'name' is missing"):
        load_site("mine")


def test_a_mistake_in_a_base_is_reported_in_the_base(folder):
    write(folder, base=BASE.replace("threads: 2", "threads: two"), mine="name: mine\nextends: base\nlimts: {}\n")
    with pytest.raises(SiteError) as caught:
        load_site("mine")
    assert "base.yaml:4:20: workers.threads: expected a whole number, found 'two'" in str(caught.value)
    assert "mine.yaml:3:1: unknown key 'limts'; did you mean 'limits'?" in str(caught.value)


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("mine", r"mine.yaml:2:10: extends itself: mine.yaml -> mine.yaml; remove one"),
        ("other", r"other.yaml:1:10: extends itself: mine.yaml -> other.yaml -> mine.yaml; remove one"),
        ("bse", r"mine.yaml:2:10: no site 'bse' in .*; did you mean 'base'\?"),
        ("./absent.yaml", r"mine.yaml:2:10: absent.yaml cannot be read: .*; check the name"),
        ("3", r"mine.yaml:2:10: expected the name or path of a site file"),
        ("{a: b}", r"mine.yaml:2:10: expected the name or path of a site file"),
        ("[base, 3]", r"mine.yaml:2:17: expected the name or path of a site file"),
    ],
)
def test_what_cannot_be_extended_says_why(folder, extends, message):
    write(folder, base=BASE, mine=f"name: mine\nextends: {extends}\n", other="extends: mine\n")
    with pytest.raises(SiteError, match=message):
        load_site("mine")


def test_two_ways_to_one_base_are_no_circle(folder):
    write(folder, base=BASE, a="extends: base\n", b="extends: base\n", mine="name: mine\nextends: [a, b]\n")
    assert load_site("mine").workers.threads == 2


trees = st.recursive(
    st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)
mappings = st.dictionaries(st.sampled_from("abcd"), trees, min_size=1, max_size=3)


def tree_of(data):
    tree, problems = parse_yaml(json.dumps(data), "f")
    assert problems == []
    return tree


def get(data, path):
    for step in path:
        if not isinstance(data, dict) or step not in data:
            return None
        data = data[step]
    return data


def paths(data, at=()):
    for key, value in data.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from paths(value, (*at, key))


@given(mappings, mappings)
def test_merged_values_are_of_the_upper_layer_if_it_has_them_else_of_the_lower(base, over):
    merged = plain(merge(tree_of(base), tree_of(over)))
    for path in {*paths(merged), *paths(base), *paths(over)}:
        above, below, found = get(over, path), get(base, path), get(merged, path)
        if above is not None:
            both = isinstance(above, dict) and isinstance(below, dict)
            assert found.keys() == above.keys() | below.keys() if both else found == above
        elif all(isinstance(get(over, path[:n]), dict | None) for n in range(1, len(path))):
            assert found == below


# where a key is a section in every layer or in none, as the keys of a site are
sections = st.dictionaries(
    st.sampled_from("ab"), st.dictionaries(st.sampled_from("cd"), st.integers() | st.lists(st.integers()))
)


@given(sections, sections, sections)
def test_layers_merge_the_same_in_any_grouping(a, b, c):
    one, two, three = map(tree_of, (a, b, c))
    assert plain(merge(merge(one, two), three)) == plain(merge(one, merge(two, three)))


# ---- drivers ---------------------------------------------------------------------------------------------


def test_options_of_a_driver_that_is_not_here_are_taken_and_reported_unchecked(folder):
    write(folder, far="schema: 1\nname: far\nbackend: gridengine\noptions: {queue: {a: 1}, list: [x]}\n")
    read = read_site("far")
    assert read.site.options == {"queue": {"a": 1}, "list": ["x"]}
    assert "no driver 'gridengine' is installed here" in read.options_unchecked


def test_reading_sites_imports_no_driver_and_a_worker_needs_no_yaml():
    code = (
        "import sys, pickle; from vrecompute.sites.model import Site, Workers; "
        "pickle.loads(pickle.dumps(Site(name='x', backend='y'))); "
        "bad = {'pydantic', 'yaml', 'click', 'distributed'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_every_key_has_a_sentence():
    from vrecompute.config.check import json_schema

    def missing(schema, at):
        for key, prop in schema.get("properties", {}).items():
            if not prop.get("description", "").endswith("."):
                yield f"{at}.{key}"

    schema = json_schema(Site)
    found = [*missing(schema, "site"), *(key for name, part in schema["$defs"].items() for key in missing(part, name))]
    assert found == []


def test_leaves_name_every_key_once():
    keys = [path for path, _ in leaves(local_site())]
    assert len(keys) == len(set(keys))
    assert ("workers", "nodes", "max") in keys
