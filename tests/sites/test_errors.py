"""Wrong site files: every one gives all of its problems at once, each with its place and with what to do."""

import re
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_validator

from tests.sites.written import site_of
from vrecompute.cli.site import site as command
from vrecompute.errors import SiteError
from vrecompute.sites.drivers import OptionsModel
from vrecompute.sites.load import examine_site, read_site
from vrecompute_backends.slurm.options import SlurmOptions

HEAD = "schema: 1\nname: bad\nbackend: slurm\n"

#: name: (what follows the three lines of HEAD, the problems as "line:column: start of message ... suggestion")
WRONG = {
    "typo in a section": (
        "wrokers: {threads: 2}\n",
        ["4:1: unknown key 'wrokers' | did you mean 'workers'"],
    ),
    "typos in three places": (
        "access: {ssh: {hots: login.example.org}}\nnetwork: {interfac: ib0}\nlimits: {maxjobs: 3}\n",
        [
            "4:16: access.ssh: unknown key 'hots' | did you mean 'host'",
            "5:11: network: unknown key 'interfac' | did you mean 'interface'",
            "6:10: limits: unknown key 'maxjobs' | did you mean 'max_jobs'",
        ],
    ),
    "key in the wrong section": (
        "walltime: 3h\n",
        ["4:1: unknown key 'walltime' here | did you mean 'workers.walltime'"],
    ),
    "a misspelled extends": (
        "extend: base\n",
        ["4:1: unknown key 'extend' | did you mean 'extends'"],
    ),
    "key nobody knows": (
        "workers: {colour: red}\n",
        ["4:11: workers: unknown key 'colour' | known: processes, threads, memory"],
    ),
    "words that YAML 1.1 takes for truth": (
        (
            "access: {ssh: {host: a.example.org, multiplex: yes}}\nnetwork: {tls: on}\n"
            "options: {whole_node: No, array: off}\n"
        ),
        [
            "4:48: access.ssh.multiplex: expected true or false, found 'yes' | did you mean true",
            "5:16: network.tls: expected true or false, found 'on' | did you mean true",
            "6:23: options.whole_node: expected true or false, found 'No' | did you mean false",
            "6:34: options.array: expected true or false, found 'off' | did you mean false",
        ],
    ),
    "numbers for truth": (
        "network: {tls: 1}\n",
        ["4:16: network.tls: expected true or false, found 1 | did you mean true"],
    ),
    "octal": (
        "workers: {threads: 010}\n",
        ["4:20: a number with a leading zero | remove the zero"],
    ),
    "underscored and spelled numbers": (
        "workers: {processes: 1_0, threads: four, nodes: {max: 1.5}}\n",
        [
            "4:22: workers.processes: expected a whole number, found '1_0' | did you mean 10",
            "4:36: workers.threads: expected a whole number, found 'four' | write digits",
            "4:55: workers.nodes.max: expected a whole number, found 1.5 | write digits",
        ],
    ),
    "zero and negative": (
        "workers: {processes: 0, threads: -2}\naccounting: {pue: -1}\n",
        [
            "4:22: workers.processes: expected a whole number from 1 up, found 0 | write at least 1",
            "4:34: workers.threads: expected a whole number from 1 up, found -2 | write at least 1",
            "5:19: accounting.pue: expected a number that is not negative | write 0 or more",
        ],
    ),
    "memory without a unit": (
        "workers: {memory: 80}\nstage: {scratch: /s, quota: '2000'}\n",
        [
            "4:19: workers.memory: 80 has no unit | did you mean '80GiB'",
            "5:29: stage.quota: '2000' has no unit | did you mean '2000MiB' or '2000B'",
        ],
    ),
    "memory in a unit nobody knows": (
        "workers: {memory: 80Gib}\n",
        ["4:19: workers.memory: 'Gib' is not a unit of memory | did you mean '80GiB'"],
    ),
    "too little memory": (
        "workers: {processes: 64, memory: 4GiB}\n",
        ["4:34: workers.memory: 64 worker processes share it: 64 MiB each | raise it"],
    ),
    "ambiguous and unitless durations": (
        "workers: {walltime: 12:30, sweet_spot: 3}\nlimits: {min_poll: 60 seconds}\n",
        [
            "4:21: workers.walltime: '12:30' is ambiguous | did you mean '12:30:00'",
            "4:40: workers.sweet_spot: 3 has no unit | did you mean '3h'",
            "5:20: limits.min_poll: 'seconds' is not a unit of time | did you mean '60s'",
        ],
    ),
    "sweet spot beyond the walltime": (
        "workers: {walltime: 3h, sweet_spot: 04:00:00}\n",
        ["4:37: workers.sweet_spot: longer than walltime | make it shorter"],
    ),
    "wrong choices": (
        "scheduler_runs: alocation\nnetwork: {compute_outbound: no}\nstage: {scratch: /s, mover: Login}\n",
        [
            "4:17: scheduler_runs: 'alocation' is not one of client, login | did you mean 'allocation'",
            "5:29: network.compute_outbound: 'no' is not one of open, proxy, none | did you mean 'none'",
            "6:29: stage.mover: 'Login' is not one of none, client, login | did you mean 'login'",
        ],
    ),
    "another version": (
        "",
        ["1:9: schema: expected 1, found 7 | write 1"],
    ),
    "a section that is no mapping": (
        "workers: 4\nstore: s3://vre-runs/prefix\naccess: ssh\n",
        [
            "4:10: workers: expected a mapping of processes, threads | write {key: value}",
            "5:8: store: expected a mapping of url, endpoint, credentials | write {key: value}",
            "6:9: access: expected a mapping of ssh, unicore | write {key: value}",
        ],
    ),
    "a number of nodes": (
        "workers: {nodes: 4}\n",
        ["4:18: workers.nodes: expected a mapping of min, max, found 4 | write {min: 4, max: 4}"],
    ),
    "a list and text exchanged": (
        "environment: {modules: Python, venv: [a, b]}\n",
        [
            "4:24: environment.modules: expected a list, found 'Python' | did you mean [Python]",
            "4:32: environment.venv: expected text, found a list | write one value",
        ],
    ),
    "numbers where text belongs": (
        "options: {account: 12345}\nenvironment: {modules: [2026], variables: {OMP_NUM_THREADS: 1}}\n",
        [
            '4:20: options.account: expected text, found 12345 | write "12345" in quotes',
            '5:25: environment.modules[0]: expected text, found 2026 | write "2026" in quotes',
            '5:61: environment.variables.OMP_NUM_THREADS: expected text, found 1 | write "1" in quotes',
        ],
    ),
    "no name for a variable": (
        "environment: {variables: {my-var: x}}\n",
        ["4:27: environment.variables: 'my-var' is not the name of a variable | write letters"],
    ),
    "required keys missing": (
        "access: {unicore: {}}\n",
        [
            "4:10: access.unicore: 'credentials' is missing | add `credentials: ...`",
            "4:10: access.unicore: 'url' is missing | add `url: ...`",
        ],
    ),
    "keys without values": (
        "options:\n  partition:\nworkers:\n  memory:\n",
        ["5:3: 'partition' has no value | write one", "7:3: 'memory' has no value | write one"],
    ),
    "duplicate keys": (
        "workers: {threads: 2, threads: 4}\nworkers: {processes: x}\n",
        [
            "4:23: 'threads' is given twice; the first is on line 4 | remove one",
            "5:1: 'workers' is given twice; the first is on line 4 | remove one",
        ],
    ),
    "ports": (
        "network: {worker_ports: 10100-10000, scheduler_ports: 0-70000}\n",
        [
            "4:25: network.worker_ports: the range 10100-10000 runs backwards | did you mean '10000-10100'",
            "4:55: network.scheduler_ports: ports go from 1 to 65535 | write 10000-10100",
        ],
    ),
    "fewer ports than processes": (
        "network: {worker_ports: 10000..10001}\n",
        ["4:25: network.worker_ports: '10000..10001' is not a range of ports | did you mean '10000-10001'"],
    ),
    "fewer ports than workers": (
        "network: {worker_ports: 10000-10006}\nworkers: {processes: 4}\n",
        ["4:25: network.worker_ports: 7 ports for 4 worker processes on a node | widen the range"],
    ),
    "a proxy that is not told, and one that is not used": (
        "network: {compute_outbound: proxy}\n",
        ["4:29: network.compute_outbound: add `proxy: http://...`"],
    ),
    "two ways in": (
        "access: {ssh: {host: a.example.org}, unicore: {url: rest.example.org/core, credentials: {}}}\n",
        [
            "4:53: access.unicore.url: 'rest.example.org/core' is not a web address | did you mean 'https://",
        ],
    ),
    "two ways in, spelled right": (
        "access:\n  ssh: {host: a.example.org}\n  unicore: {url: 'https://rest.example.org', credentials: {}}\n",
        [
            "6:3: access.unicore: both ssh and unicore are given | remove one",
            "6:46: access.unicore.credentials: expected exactly one of profile, file, env, found nothing | write one",
        ],
    ),
    "a host that would be an option of ssh": (
        "access: {ssh: {host: -oProxyCommand=id}}\n",
        ["4:22: access.ssh.host: '-oProxyCommand=id' is not a host | write its name"],
    ),
    "variables where nothing resolves them": (
        "access: {ssh: {host: $HOST}}\nstage: {scratch: $(pwd), shared: ['${A:-/x}']}\n",
        [
            "4:22: access.ssh.host: variables are not resolved here | write the value itself",
            "5:18: stage.scratch: only plain variables | write no commands",
            "5:35: stage.shared[0]: only plain variables | write no commands",
        ],
    ),
    "relative paths": (
        "stage: {scratch: scratch, shared: [data]}\nstore: {url: runs}\n",
        [
            "4:18: stage.scratch: 'scratch' is relative | start it with /",
            "4:27: stage.shared: 'data' is relative | start it with /",
            "5:14: store.url: a folder must start with / or a variable | did you mean '$HOME/runs'",
        ],
    ),
    "a store that is none": (
        "store: {url: 'root://eos.example.org//x', credentials: {profil: vre}}\n",
        [
            "4:14: store.url: not root:// | write s3://bucket/prefix",
            "4:57: store.credentials: unknown key 'profil' | did you mean 'profile'",
        ],
    ),
    "keys of a bucket for a folder": (
        "store: {url: /data/runs, endpoint: 'https://object.example.org', credentials: {profile: vre}}\n",
        [
            "4:36: store.endpoint: only for a bucket | write url: s3://bucket",
            "4:66: store.credentials: only for a bucket | write url: s3://bucket",
        ],
    ),
    "a mover without a place": (
        "stage: {mover: login, quota: 1TiB}\n",
        [
            "4:16: stage.mover: no folder to copy to | add `scratch",
            "4:30: stage.quota: no folder to limit | add `scratch",
        ],
    ),
    "python twice": (
        "environment: {venv: /v, image: /i.sif}\n",
        ["4:32: environment.image: python comes from an image or from venv | remove one"],
    ),
    "three pythons": (
        "environment: {venv: /v, conda: vre, image: /i.sif}\n",
        [
            "4:32: environment.conda: python comes from conda or from venv | remove one",
            "4:44: environment.image: python comes from an image or from conda | remove one",
            "4:44: environment.image: python comes from an image or from venv | remove one",
        ],
    ),
    "folders that are none": (
        "environment: {module_paths: [modules, $HOME/m], modules: [x], conda: envs/vre}\n",
        [
            "4:15: environment.module_paths: 'modules' is relative | start it with / or a variable",
            "4:70: environment.conda: 'envs/vre' is neither a name nor a folder | start a folder with /",
        ],
    ),
    "a seed with which workers do not agree": (
        "environment: {variables: {PYTHONHASHSEED: random}}\n",
        ["4:43: environment.variables.PYTHONHASHSEED: 'random' is no number from 1 to 4294967295 | write one"],
    ),
    "a seed that is none for Dask": (
        'environment: {variables: {PYTHONHASHSEED: "0"}}\n',
        ["4:43: environment.variables.PYTHONHASHSEED: '0' is no number from 1 to 4294967295 | write one"],
    ),
    "setup that is no list": (
        "environment: {setup: aklog, purge_modules: yes}\n",
        [
            "4:22: environment.setup: expected a list, found 'aklog' | did you mean [aklog]",
            "4:44: environment.purge_modules: expected true or false, found 'yes' | did you mean true",
        ],
    ),
    "more at least than at most": (
        "workers: {nodes: {min: 20, max: 16}}\nlimits: {max_jobs: 10}\n",
        [
            "4:24: workers.nodes.min: min 20 is above max 16 | lower it",
            "5:20: limits.max_jobs: a run starts with 20 jobs (workers.nodes.min), and only 10 are allowed | raise it",
        ],
    ),
    "nodes cut off from their scheduler": (
        "access: {ssh: {host: a.example.org}}\nnetwork: {compute_outbound: none}\n",
        ["5:29: scheduler_runs: compute nodes have no outbound connections | did you mean 'allocation'"],
    ),
    "a host with all of its way in": (
        "access: {ssh: {host: 'alice@login:22', user: bob}}\n",
        [
            "4:22: access.ssh.host: 'alice@login:22' has a port in it | write host: login, user: alice, port: 22",
            "4:46: access.ssh.user: the host has the user alice in it and this is bob | remove one",
        ],
    ),
    "options of the driver": (
        "options: {acount: x, launcher: sruun, prefer: jason, directives: {ad: [], drop: --mem}}\n",
        [
            "4:11: options: unknown key 'acount' | did you mean 'account'",
            "4:32: options.launcher: 'sruun' is not one of direct, srun | did you mean 'srun'",
            "4:47: options.prefer: 'jason' is not one of commands, json, rest, pyslurm | did you mean 'json'",
            "4:67: options.directives: unknown key 'ad' | did you mean 'add'",
            "4:81: options.directives.drop: expected a list, found '--mem' | did you mean [--mem]",
        ],
    ),
    "commands smuggled into a job script": (
        'options: {partition: "batch\\n#SBATCH --wrap=id", directives: {add: ["--comment=$(id)", "rm -rf"]}}\n',
        [
            "4:22: options.partition: 'batch\\n#SBATCH --wrap=id' does not have the form | write no other",
            "4:69: options.directives.add[0]: '--comment=$(id)' is no directive | write one option as sbatch takes it",
            "4:88: options.directives.add[1]: 'rm -rf' is no directive | write one option as sbatch takes it",
        ],
    ),
    "line breaks in text": (
        'environment: {venv: "/v\\nrm -rf /"}\n',
        ["4:21: environment.venv: holds a line break | write it on one line"],
    ),
    "tab": ("workers:\n\tthreads: 2\n", ["5:1: not YAML: a tab | indent with spaces"]),
    "unbalanced": ("workers: {threads: 2\n", ["5:1: not YAML: a '{' is not closed | write {key: value"]),
    "colon in a value": (
        "description: Slurm: the old one\n",
        ["4:19: not YAML: an unexpected ':' | put a value with ': ' in quotes"],
    ),
}


@pytest.fixture(autouse=True)
def only_this_folder(tmp_path, monkeypatch):
    """The search path is an empty folder, and Slurm's options are known whether or not its driver is installed."""
    monkeypatch.setenv("VRECOMPUTE_SITES", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)


def model_of(backend):
    return OptionsModel(SlurmOptions if backend == "slurm" else None)


def wrong_file(name):
    text, _ = WRONG[name]
    head = HEAD.replace("schema: 1", "schema: 7") if name == "another version" else HEAD
    Path("bad.yaml").write_text(head + text)
    return Path("bad.yaml")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_gives_all_its_problems_with_place_and_suggestion(name):
    found = [str(problem) for problem in examine_site(wrong_file(name), model_of).problems]
    expected = WRONG[name][1]
    assert len(found) == len(expected), "\n".join(found)
    for line, wanted in zip(found, expected, strict=True):
        beginning, _, suggestion = wanted.partition(" | ")
        assert line.startswith(f"bad.yaml:{beginning}"), line
        assert suggestion in line


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_site_error_that_lists_them(name):
    with pytest.raises(SiteError) as caught:
        read_site(wrong_file(name), model_of)
    n_problems = len(WRONG[name][1])
    assert f"site file bad.yaml has {n_problems} problem" in str(caught.value)
    assert len(re.findall(r"^  bad.yaml:\d+:\d+: ", str(caught.value), re.MULTILINE)) == n_problems
    assert caught.value.exit_code == 2


def test_there_are_enough_of_them():
    assert len(WRONG) >= 30


def test_mistakes_of_form_value_and_between_keys_come_together():
    text = "workers: {nodes: {min: 9, max: 3}, threads: x, threads: 2}\nlimts: {}\nstage: {mover: login}\n"
    Path("bad.yaml").write_text(HEAD + text)
    found = [str(problem).split(" ")[0] for problem in examine_site(Path("bad.yaml"), model_of).problems]
    assert found == [f"bad.yaml:{place}:" for place in ("4:24", "4:45", "4:48", "5:1", "6:16")]


# ---- secrets ---------------------------------------------------------------------------------------------

CANARY = "cAnArY7Xk2"
SECRETS = {
    "a key of the store": f"store: {{url: 's3://runs/p', credentials: {{secret_key: {CANARY}}}}}\n",
    "a password of the driver": f"options: {{password: {CANARY}}}\n",
    "a token in a variable": f"environment: {{variables: {{RUCIO_ACCESS_TOKEN: {CANARY}}}}}\n",
    "a token in a command": f"environment: {{setup: ['export API_TOKEN={CANARY}; aklog']}}\n",
    "a token deep inside": f"options: {{rest: {{tokens: [{CANARY}, {CANARY}]}}}}\n",
    "a number": "options: {password: 8441973}\n",
    "an AWS key id": f"options: {{account: AKIA{'ABCDEFGH12345678'}}}\n".replace("12345678", "1234CANA"),
    "a web token": f"environment: {{variables: {{X: eyJ{CANARY}{CANARY}.abc}}}}\n",
    "in a URL": f"store: {{url: 's3://user:{CANARY}@bucket/prefix'}}\n",
    "in a proxy": f"network: {{compute_outbound: proxy, proxy: 'http://user:{CANARY}@proxy.example.org'}}\n",
    "a PEM block": f"options: {{key: '-----BEGIN PRIVATE KEY----- {CANARY}'}}\n",
    "as a key": f"options: {{'glpat-{CANARY}': 1}}\n",
    "instead of a profile": f"store: {{url: 's3://runs/p', credentials: {{profile: {CANARY * 4}}}}}\n",
    "instead of a variable": f"store: {{url: 's3://runs/p', credentials: {{env: {CANARY}}}}}\n",
    "instead of a file": f"store: {{url: 's3://runs/p', credentials: {{file: {CANARY}}}}}\n",
    "instead of the mapping": f"store: {{url: 's3://runs/p', credentials: '{CANARY}'}}\n",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_file_is_refused_and_never_shown(name):
    text = SECRETS[name]
    Path("bad.yaml").write_text(HEAD + text)
    with pytest.raises(SiteError) as caught:
        read_site("bad.yaml", model_of)
    shown = CliRunner().invoke(command, ["check", "bad.yaml"])
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    for said in (shown.output, *(f"{error!r} {error}" for error in chain)):
        assert CANARY not in said
        assert "8441973" not in said
        assert "1234CANA" not in said
    assert re.search(r"bad.yaml:4:\d+: .*does not belong in a site file", str(caught.value))


def test_where_a_secret_is_may_be_told():
    text = """\
options: {rest_token_file: ~/.slurm/token, prefer: rest, rest_url: "https://slurm.example.org:6820"}
store: {url: "s3://runs/p", credentials: {env: VRE_S3}}
access: {unicore: {url: "https://u.example.org/rest/core", credentials: {file: ~/.unicore/token}}}
environment:
  setup: ["export RUCIO_ACCESS_TOKEN=$(cat ~/.token) TOKEN_FILE=/tmp/t", 'BEARER_TOKEN="$X" renew-token']
  variables: {RUCIO_ACCESS_TOKEN: "$RUCIO_ACCESS_TOKEN", TOKEN_PATH: "/tmp/t", X509_USER_PROXY: /tmp/x}
"""
    Path("good.yaml").write_text(HEAD + text)
    site = read_site("good.yaml", model_of).site
    assert site.store.credentials.env == "VRE_S3"
    assert site.access.unicore.credentials.file == "~/.unicore/token"


# ---- nothing falls over ----------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["x", "$A", "4GiB", "1h"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "host", "min"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = ["name", "access", "network", "options", "workers", "store", "stage", "environment", "limits"]


@given(st.dictionaries(st.sampled_from(KEYS), values | st.dictionaries(st.text(max_size=5), values, max_size=2)))
def test_any_mapping_is_a_site_or_a_site_error(data):
    said = ""
    try:
        site_of({"name": "x", "backend": "slurm", **data})
    except SiteError as error:
        said = str(error)
    assert not said or re.search(r"^  \S+[.]yaml:\d+:\d+: ", said, re.MULTILINE)


class Exclusive(BaseModel):
    """Options with a rule over several keys and a choice of kinds, as any driver may declare."""

    one: int | None = None
    either: int | list[int] = 0

    @model_validator(mode="after")
    def only_one(self) -> Self:
        if self.one == 13:
            raise ValueError("13 of one are too many; write 12")
        return self


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{one: 13}", ["bad.yaml:4:1: options: 13 of one are too many; write 12"]),
        ("{one: x}", ["bad.yaml:4:16: options.one: expected a whole number, found 'x'; write digits, such as 4"]),
    ],
)
def test_rules_of_a_driver_speak_in_the_same_way(options, expected):
    Path("bad.yaml").write_text(f"schema: 1\nname: bad\nbackend: other\noptions: {options}\n")
    found = examine_site(Path("bad.yaml"), lambda backend: OptionsModel(Exclusive)).problems
    assert [str(problem) for problem in found] == expected


def test_a_choice_of_kinds_in_a_driver_points_at_the_value():
    Path("bad.yaml").write_text("schema: 1\nname: bad\nbackend: other\noptions: {either: {a: b}}\n")
    problems = examine_site(Path("bad.yaml"), lambda backend: OptionsModel(Exclusive)).problems
    assert {str(problem.mark) for problem in problems} == {"bad.yaml:4:11"}
