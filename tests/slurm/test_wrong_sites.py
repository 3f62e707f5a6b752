"""Sites on which no run would start: each is found by `site check`, or by its probe, with all of its mistakes at once.

Rows of FILE need no Slurm: their lines follow HEAD. Rows of PROBE are right as files; only a probe of the lab can
see what is wrong. A row says which keys (or checks of the probe) are reported, no more and no fewer, and what is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.patience import comes_true
from vrecompute.cli.site import site as command
from vrecompute.sites.report import check_file

HEAD = "schema: 1\nname: wrong\nbackend: slurm\n"

FILE, PROBE = "file", "probe"

#: what is wrong: (what finds it, lines of the file, {key, word or check of the probe: what is said about it})
SITES = {
    "misspelled section, option and value": (
        FILE,
        "wrokers: {threads: 2}\noptions: {acount: x, launcher: sruun}\n",
        {"'wrokers'": "did you mean 'workers'", "'acount'": "'account'", "options.launcher": "'srun'"},
    ),
    "memory without a unit, ambiguous walltime": (
        FILE,
        "workers: {memory: 1600, walltime: 12:30}\n",
        {"workers.memory": "1600", "workers.walltime": "12:30"},
    ),
    "nothing is asked for": (
        FILE,
        "workers: {processes: 0, walltime: 0s, nodes: {min: 0}}\n",
        {"workers.processes": "from 1 up", "workers.walltime": "no time at all", "workers.nodes.min": "from 1 up"},
    ),
    "ports backwards, and none": (
        FILE,
        "network: {worker_ports: 10100-10000, scheduler_ports: 0-70000}\n",
        {"network.worker_ports": "10000-10100", "network.scheduler_ports": "1 to 65535"},
    ),
    "fewer ports than processes": (
        FILE,
        "network: {worker_ports: 10000-10006}\nworkers: {processes: 4}\n",
        {"network.worker_ports": "widen the range"},
    ),
    "more jobs at first than at most, or allowed": (
        FILE,
        "workers: {nodes: {min: 20, max: 16}}\nlimits: {max_jobs: 10}\n",
        {"workers.nodes.min": "above max 16", "limits.max_jobs": "raise it"},
    ),
    "a sweet spot above the walltime": (
        FILE,
        "workers: {walltime: 1h, sweet_spot: 3h}\n",
        {"workers.sweet_spot": "longer than walltime"},
    ),
    "too little memory for Python": (
        FILE,
        "workers: {processes: 32, memory: 2GiB}\n",
        {"workers.memory": "64 MiB each"},
    ),
    "a gateway of Slurm, reached by UNICORE": (
        FILE,
        "scheduler_runs: gateway\naccess: {unicore: {url: 'https://u.example.org', credentials: {env: TOKEN}}}\n",
        {"scheduler_runs": "'allocation'", "access.unicore": "ssh"},
    ),
    "two ways in, credentials nowhere": (
        FILE,
        "access:\n  ssh: {host: a.example.org}\n  unicore: {url: 'https://u.example.org', credentials: {}}\n",
        {
            "access.unicore": "remove one|runs commands on a login node",
            "access.unicore.credentials": "exactly one of profile, file, env",
        },
    ),
    "a host that is an option": (
        FILE,
        "access: {ssh: {host: -oProxyCommand=id}}\n",
        {"access.ssh.host": "is not a host"},
    ),
    "a proxy without its address": (
        FILE,
        "network: {compute_outbound: proxy}\n",
        {"network.compute_outbound": "add `proxy"},
    ),
    "workers cut off from their scheduler": (
        FILE,
        "access: {ssh: {host: a.example.org}}\nnetwork: {compute_outbound: none}\n",
        {"scheduler_runs": "'allocation'"},
    ),
    "an image that hides the job's variables": (
        FILE,
        "environment: {venv: null, image: /i.sif, image_command: [apptainer, exec, --cleanenv]}\n",
        {"environment.image_command": "cleanenv"},
    ),
    "stores that are none": (
        FILE,
        "store: {url: 'root://eos.example.org//x', endpoint: 'https://o.example.org'}\nstage: {scratch: scratch}\n",
        {"store.url": "not root://", "store.endpoint": "only for a bucket", "stage.scratch": "relative"},
    ),
    "two Pythons": (
        FILE,
        "environment: {venv: /v, image: /i.sif, cvmfs: /cvmfs/x/setup.sh}\n",
        {"environment.image": "python comes from an image"},
    ),
    "commands smuggled in": (
        FILE,
        "environment: {venv: '$(which python)/..', variables: {A: '`id`'}}\n",
        {"environment.venv": "write no commands", "environment.variables.A": "write no commands"},
    ),
    "directives smuggled in": (
        FILE,
        'options: {partition: "b\\n#SBATCH --wrap=id", directives: {add: ["--array=0-9", "--wrap=id"]}}\n',
        {"options.partition": "form", "options.directives.add": "--array=0-9"},
    ),
    "a directive that is none": (
        FILE,
        "options: {directives: {add: [mem=4G]}}\n",
        {"options.directives.add": "such as --mem=4G"},
    ),
    "slurmrestd without its address, all clusters": (
        FILE,
        "options: {prefer: rest, cluster: all}\n",
        {"options.cluster": "the name of a cluster", "options.prefer": "rest_url"},
    ),
    "a secret in the file": (
        FILE,
        "environment: {variables: {RUCIO_ACCESS_TOKEN: cAnArY7Xk2}}\n",
        {"a secret": "does not belong in a site file"},
    ),
    "keys twice, keys without a value": (
        FILE,
        "workers: {threads: 2, threads: 4, memory: }\n",
        {"'threads'": "given twice", "'memory'": "has no value"},
    ),
    "no YAML": (FILE, "workers:\n\tthreads: 2\n", {"not YAML": "indent with spaces"}),
    # right as files: these lines extend the lab's site
    "walltime over the partition's": (
        PROBE,
        "workers: {walltime: 3h}\n",
        {"limits": "partition batch gives at most 1h: the worker job asks for 3h, .*the detached job asks for 3h"},
    ),
    "memory over the node": (
        PROBE,
        "workers: {memory: 9GiB}\n",
        {
            "limits": "the largest node of partition batch gives at most 4000MiB: the worker job asks for 9GiB",
            "worker job": "node configuration is not available",
            "array of 2 worker jobs": "node configuration is not available",
            "detached job": "node configuration is not available",
        },
    ),
    "no such controller partition": (
        PROBE,
        "scheduler_runs: allocation\noptions: {controller_partition: nope}\n",
        {"scheduler job": "[Ii]nvalid partition .*mend options.controller_partition"},
    ),
    "a scheduler port that is taken": (
        PROBE,
        "network: {scheduler_ports: 10555}\n",
        {"scheduler ports on login": "1 of 10555 cannot be opened on login: .*widen network.scheduler_ports"},
    ),
    "more jobs at first than in an array": (
        PROBE,
        "workers: {nodes: {min: 2000, max: 2000}}\nlimits: {max_jobs: null}\n",
        {
            "limits": "MaxArraySize gives at most 1001 jobs in an array|partition batch gives at most 2",
            "array of 2000 worker jobs": "Invalid job array specification.*mend workers.nodes.min",
            "detached job": "node configuration is not available",
        },
    ),
    "fewer jobs in the queue than at first": (
        PROBE,
        "options: {account: small}\n",
        {
            "limits": "MaxSubmitJobs of the account small gives at most 1 job in the queue: a live run asks for 2",
            "array of 2 worker jobs": "AssocMaxSubmitJobLimit",
        },
    ),
    "a partition that is down": (
        PROBE,
        "options: {partition: closed}\n",
        {
            "limits": "partition closed is down and starts no job|partition closed gives at most 1 node",
            "queue": "its partition takes jobs but starts none",
            "detached job": "node configuration",
        },
    ),
    "walltime over that of the QOS": (
        PROBE,
        "options: {account: roomy, qos: tight}\n",
        {"limits": "MaxWall of the QOS tight gives at most 2m: the worker job asks for 10m"},
    ),
    "no such account": (
        PROBE,
        "options: {account: nope}\n",
        dict.fromkeys(
            ["worker job", "array of 2 worker jobs", "detached job", "queue"], "Invalid account.*mend options.account"
        ),
    ),
    "no Python in jobs, nor on the login node": (
        PROBE,
        "environment: {venv: /nowhere, variables: {PATH: '/nowhere/bin:/usr/bin:/bin'}}\n",
        {"python": "vrecompute does not start on this machine: .*python", "queue": "ended without an answer.*python"},
    ),
    "interface, store and ports of nodes": (
        PROBE,
        "network: {interface: ib9, worker_ports: 6818-6821}\nstore: {url: /tmp/of-each-node}\n",
        {
            "interfaces": "c. has no interface ib9, only ib0",
            "worker ports on c.": "4 of 6818-6821 cannot be opened on c.",
            "store": "/tmp/of-each-node",
        },
    ),
    "seven mistakes": (
        PROBE,
        (
            "options: {partition: short}\nworkers: {memory: 9GiB}\nstore: {url: /tmp/of-each-node}\n"
            "network: {interface: ib9, scheduler_ports: 10555, worker_ports: 6818-6821}\n"
        ),
        {
            "limits": "partition short gives at most 1m|the largest node of partition short|gives at most 1 node",
            "worker job": "node configuration",
            "array of 2 worker jobs": "node configuration",
            "detached job": "node configuration",
            "scheduler ports on login": "10555",
            "interfaces": "ib9",
            "worker ports on c.": "6818-6821",
            "store": "/tmp/of-each-node",
        },
    ),
    "too few open files for a worker": (
        PROBE,
        'environment: {setup: ["ulimit -n 20"]}\n',
        {"worker on c.": "computes nothing: .*Too many open files"},
    ),
    "too little address space for the compiler": (
        PROBE,
        'environment: {setup: ["ulimit -v 300000"]}\n',
        {"worker on c.": "it is started as for a run, and computes nothing: "},
    ),
    "numba without its compiler": (
        PROBE,
        'environment: {variables: {NUMBA_DISABLE_JIT: "1"}}\n',
        {"worker on c.": "a run would end with 'different code'"},
    ),
    "a directive of a file that is not there": (
        PROBE,
        'options: {directives: {add: ["--input=/nope"]}}\n',
        {"queue": "writes no log"},
    ),
    "another configuration of Slurm in jobs": (
        PROBE,
        "environment: {variables: {SLURM_CONF: /nope}}\n",
        {"queue": "/nope"},
    ),
    # and some that are right
    "right: a setup that starts an agent": (PROBE, 'environment: {setup: ["sleep 60 &"]}\n', {}),
    "right: as the lab is": (PROBE, "", {}),
    "right: the scheduler in a job": (
        PROBE,
        "scheduler_runs: allocation\noptions: {controller_partition: scavenge}\n",
        {},
    ),
    "right: detached runs only": (PROBE, "scheduler_runs: none\nnetwork: {tls: false}\n", {}),
    "right: whole nodes, one job": (
        PROBE,
        "scheduler_runs: allocation\noptions: {whole_node: true}\nworkers: {memory: 2GiB, nodes: {min: 1, max: 2}}\n",
        {},
    ),
}
STATIC = {name: row for name, (by, *row) in SITES.items() if by is FILE}
PROBED = {name: row for name, (by, *row) in SITES.items() if by is PROBE}
# What holds the port of two rows, for as long as it may take to probe them all.
HOLD = "import socket, time; s = socket.create_server(('', 10555)); print('held', flush=True); time.sleep(900)"


@pytest.mark.parametrize("name", STATIC)
def test_a_wrong_file_is_found_without_starting_anything(name, tmp_path, monkeypatch):
    lines, expected = STATIC[name]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "wrong.yaml"
    file.write_text(HEAD + lines)
    checkup = check_file(file)
    assert not checkup.ok
    left = list(checkup.problems)
    for key, said in expected.items():
        for words in said.split("|"):  # each of the alternatives is said
            found = [p for p in left if re.search(rf"(^|[: ]){re.escape(key)}([:\[ ;]|$)", p) and words in p]
            assert found, f"{key}: {words} is not in {left}"
        left = [p for p in left if not re.search(rf"(^|[: ]){re.escape(key)}([:\[ ;]|$)", p)]
    assert not left
    assert CliRunner().invoke(command, ["check", str(file)]).exit_code == 2


def test_there_are_as_many_as_are_promised():
    wrong = [name for name, (_, expected) in PROBED.items() if expected]
    assert (len(STATIC) >= 22, len(wrong) >= 8) == (True, True)


@pytest.fixture(scope="module")
def probed(running_lab) -> Iterator[dict[str, list[dict[str, object]]]]:
    """What one `site check --probe` of all rows said, by row."""
    accounts = ["add account small,roomy Cluster=lab", "add user alice Account=small,roomy Cluster=lab"]
    accounts += ["modify user alice where account=small set MaxSubmitJobs=1", "add qos tight set MaxWall=00:02:00"]
    accounts += ["modify user alice where account=roomy set qos+=tight"]
    for words in accounts:
        running_lab.on("head", "sacctmgr", "-iQ", *words.split(), check=False)
    files = []
    for number, (lines, _) in enumerate(PROBED.values()):
        files.append(f"/home/alice/probed-{number}.yaml")
        text = f"schema: 1\nname: probed-{number}\nbackend: slurm\nextends: lab-slurm\n{lines}"
        running_lab.on("login", "sh", "-c", 'cat > "$1"', "sh", files[-1], stdin=text)
    holding = running_lab.start(
        "login", "timeout", "900", "python", "-c", HOLD.replace("sys.stdin.read()", "__import__('time').sleep(900)")
    )
    try:
        assert holding.stdout.readline() == "held\n"
        said = running_lab.on("login", "python", "-m", "vrecompute", "site", "check", "--probe", "--json", *files,
                              check=False, timeout_s=900)  # fmt: skip
        yield dict(zip(PROBED, [checkup["probe"] for checkup in json.loads(said)], strict=True))
    finally:
        running_lab.on("login", "pkill", "-f", "create_server.*10555", check=False)
        holding.wait(30)
        for words in ("user alice account=small,roomy", "account small,roomy", "qos tight"):
            running_lab.on("head", "sacctmgr", "-iQ", "delete", *words.split(), check=False)
        for machine in ("c1", "c2"):  # a store that only its node has: no client can delete what a job put there
            running_lab.on(machine, "rm", "-rf", "/tmp/of-each-node")


@pytest.mark.slurm
@pytest.mark.timeout(1200)
def test_a_probe_finds_all_of_it_and_nothing_else_and_leaves_nothing(probed, running_lab):
    """One test, so that one process of several probes them all."""
    astray = {name: found for name, (_, expected) in PROBED.items() if (found := list(differs(probed[name], expected)))}
    assert not astray
    assert comes_true(lambda: not running_lab.on("login", "squeue", "-h", "-u", "alice").strip(), 60)
    assert "secrets" not in running_lab.on("login", "sh", "-c", "ls ~/.local/state/vrecompute/slurm")


def differs(findings: list[dict[str, object]], expected: dict[str, str]) -> Iterator[str]:
    """What was found and not expected, or the other way round; nothing of what is right."""
    wrong = [finding for finding in findings if not finding["ok"]]
    for finding in wrong:
        said = [words for check, words in expected.items() if re.fullmatch(check, str(finding["check"]))]
        if not (said and re.search(said[0], str(finding["detail"])) and finding["advice"]):
            yield f"{finding['check']}: {finding['detail']} | {finding['advice']}"
    for check, words in expected.items():
        details = [str(finding["detail"]) for finding in wrong if re.fullmatch(check, str(finding["check"]))]
        for each in words.split("|"):  # each of the alternatives is said
            if not any(re.search(each, detail) for detail in details):
                yield f"{check}: {each} is not in {details}"
