"""A site file that came with somebody's repository runs nothing as the user who works in it and has not named it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from vrecompute import Client
from vrecompute.cli.explain import explain
from vrecompute.cli.site import site
from vrecompute.errors import UntrustedSite
from vrecompute.sites.decisions import decides
from vrecompute.sites.load import load_site
from vrecompute.sites.reference import reference_table
from vrecompute_backends.slurm.options import SlurmOptions

HEAD = "schema: 1\nname: theirs\nbackend: slurm\nstore: {url: /runs}\n"
#: Keys that choose among what a batch system offers, name places for data, or only say something.
HARMLESS = {
    *("schema", "name", "backend", "description", "scheduler_runs", "options"),
    *("network.compute_outbound", "network.interface", "network.worker_ports", "network.scheduler_ports"),
    *(
        "workers.processes",
        "workers.threads",
        "workers.memory",
        "workers.max_memory",
        "workers.gpus",
        "workers.walltime",
    ),
    *("workers.nodes.min", "workers.nodes.max", "workers.sweet_spot"),
    *("store.url", "store.endpoint", "store.workers_reach", "stage.mover", "stage.quota", "stage.shared"),
    "stage.presign",
    *("limits.max_jobs", "limits.core_hours", "limits.min_poll"),
    *("accounting.unit", "accounting.watts_per_core", "accounting.pue", "accounting.gco2_per_kwh"),
}
DECIDING = {
    "environment.setup": "environment: {setup: ['touch {canary}']}",
    "environment.venv": "environment: {venv: $PWD/venv}",
    "environment.variables.LD_PRELOAD": "environment: {variables: {LD_PRELOAD: $PWD/x.so}}",
    "options.directives.add": "options: {directives: {add: [--container=/tmp/theirs]}}",
    "options.rest_url": "options: {prefer: rest, rest_url: 'http://theirs.example.org'}",
    "access.ssh.host": "access: {ssh: {host: theirs.example.org}}",
    "network.tls": "network: {tls: false}",
    "stage.scratch": "stage: {scratch: $PWD}",
    "store.trusted_users": "store: {url: /runs, trusted_users: [mallory]}",
}


@pytest.fixture(autouse=True)
def clone(tmp_path, monkeypatch):
    """The working directory, with a folder of site files; the user's own is empty."""
    folder = tmp_path / "clone" / "site_configs"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("VRECOMPUTE_SITES", raising=False)
    return folder


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "config" / "vrecompute" / "sites"
    folder.mkdir(parents=True)
    return folder


def write(folder, text, name="theirs", head=HEAD):
    path = folder / f"{name}.yaml"
    given = {line.split(":")[0] for line in text.splitlines()}
    kept = [line for line in head.splitlines() if line.split(":")[0] not in given]
    path.write_text("\n".join([*kept, text, ""]))
    return path


def test_every_key_is_harmless_or_decides():
    """One that is new is put with one or the other."""
    keys = {line.split("`")[1] for line in reference_table().splitlines()[2:]}
    assert {key for key in keys if not decides(tuple(key.split(".")), ())} == HARMLESS
    assert set(SlurmOptions.model_fields) - SlurmOptions.harmless == {"directives", "rest_url", "rest_token_file"}
    assert decides(("options", "of a driver that says nothing"), ())


@pytest.mark.parametrize("key", DECIDING)
def test_what_decides_what_runs_as_the_user_needs_trust(clone, key, tmp_path):
    path = write(clone, DECIDING[key].replace("{canary}", str(tmp_path / "canary")))
    with pytest.raises(UntrustedSite) as refused:
        Client("theirs", store=tmp_path / "store").run("dilepton", str(tmp_path))
    said = str(refused.value)
    assert f"{key} (site_configs/theirs.yaml:" in said
    assert "(--site ./site_configs/theirs.yaml)" in said
    assert refused.value.exit_code == 2
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "store").exists()
    assert load_site("theirs", trust=True) == load_site("site_configs/theirs.yaml") == load_site(path)
    assert Client("theirs", trust=True).site.name == "theirs"


def test_what_only_chooses_needs_none(clone):
    write(clone, "options: {partition: batch, account: a, qos: high}\nworkers: {processes: 8, walltime: 1h}")
    assert load_site("theirs").workers.processes == 8


def test_folders_that_the_user_names_are_the_user_s(clone, own, monkeypatch):
    write(own, "environment: {venv: /v}", "mine")
    assert load_site("mine").environment.venv == "/v"
    write(clone, "environment: {venv: /v}")
    monkeypatch.setenv("VRECOMPUTE_SITES", "site_configs")
    assert load_site("theirs").environment.venv == "/v"


def test_a_file_of_the_user_s_is_not_built_on_a_stranger_s_by_its_name_alone(clone, own):
    write(own, "extends: base\nname: mine", "mine")
    write(clone, "environment: {venv: $PWD/venv}", "base")
    with pytest.raises(UntrustedSite, match=r"environment.venv \(site_configs/base.yaml:"):
        load_site("mine")
    write(own, "environment: {venv: /v}", "base")
    assert load_site("mine").environment.venv == "/v"


def test_a_stranger_s_file_may_be_built_on_the_user_s_and_not_on_its_friends(clone, own, tmp_path):
    write(own, "environment: {venv: /v}", "base")
    write(clone, "extends: base\nname: theirs\nworkers: {processes: 2}", head="")
    assert load_site("theirs").environment.venv == "/v"
    write(tmp_path, "environment: {venv: $PWD/venv}", "friend")
    write(clone, "extends: ../../friend.yaml\nname: theirs", head="")
    with pytest.raises(UntrustedSite, match=r"environment.venv"):
        load_site("theirs")
    assert load_site("site_configs/theirs.yaml").environment.venv == "$PWD/venv"


def test_a_link_makes_no_stranger_s_file_the_user_s(clone, own):
    write(own, "extends: base", "linked")
    (clone / "theirs.yaml").symlink_to(own / "linked.yaml")
    write(clone, "environment: {venv: $PWD/venv}", "base")
    with pytest.raises(UntrustedSite):
        load_site("theirs")


def test_a_run_of_the_store_does_not_bring_a_stranger_s_site_to_use(clone, caplog):
    write(clone, DECIDING["environment.venv"])
    with Client() as client:
        assert client._site_workers.of_another("theirs") is None
    assert "site 'theirs' is not asked" in caplog.text


def test_the_command_line_says_so_and_takes_trust(clone, tmp_path):
    write(clone, DECIDING["environment.venv"])
    given = [str(tmp_path / "data"), "--site", "theirs", "--store", str(tmp_path / "store")]
    refused = CliRunner().invoke(explain, ["dilepton", *given])
    assert isinstance(refused.exception, UntrustedSite)
    taken = CliRunner().invoke(explain, ["dilepton", *given, "--trust"])
    assert (taken.exit_code, 'VIRTUAL_ENV="$PWD/venv"' in taken.output) == (0, True), taken.output
    for words in (["theirs"], []):
        probed = CliRunner().invoke(site, ["check", "--probe", *words])
        assert probed.exit_code == 2
        assert "WRONG site file: the file of site 'theirs' was found in the working directory" in probed.output
    assert "environment.venv" in CliRunner().invoke(site, ["show", "theirs"]).output
