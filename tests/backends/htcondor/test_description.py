"""Submit descriptions: units, policy and values of a site, one harmless line each."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.contract import Job
from vrecompute.errors import SiteError, UsageError
from vrecompute.sites.model import Site, Workers
from vrecompute.units import from_kubernetes, parse_memory, to_kubernetes
from vrecompute.workers.walltime import ATTEMPTS
from vrecompute_backends.htcondor import HTCondorBackend
from vrecompute_backends.slurm import SlurmBackend

SITE = Site(name="pool", backend="htcondor", workers=Workers(processes=2, memory=4 << 30, walltime=3600))
JOB = Job("mine", ("true",), memory_bytes=9 << 30, walltime_s=3600)


def description(job=JOB, **options):
    """The commands of the description by name."""
    script = HTCondorBackend(replace(SITE, options=options)).script(job)
    lines = re.findall(r"^#HTCONDOR (\S+) = (.*)$", script, re.MULTILINE)
    assert len(dict(lines)) == len(lines), "each command once"
    return dict(lines)


@given(st.integers(1, 4000))
def test_memory_is_the_same_number_in_every_system(n_gib):
    job = replace(JOB, memory_bytes=parse_memory(f"{n_gib}GiB"))
    slurm = SlurmBackend(replace(SITE, backend="slurm")).script(job)
    assert description(job)["request_memory"] == str(1024 * n_gib)
    assert f"#SBATCH --mem={1024 * n_gib}M\n" in slurm
    assert from_kubernetes(to_kubernetes(job.memory_bytes)) == 2**20 * int(description(job)["request_memory"])


def test_sizes_group_and_space():
    said = description(disk="10GiB", accounting_group="group_atlas.prod", accounting_user="alice")
    assert (said["request_memory"], said["request_disk"], said["request_cpus"]) == ("9216", str(10 << 20), "1")
    assert (said["accounting_group"], said["accounting_group_user"]) == ("group_atlas.prod", "alice")
    assert "request_memory" not in description(replace(JOB, memory_bytes=None))


def test_machines_that_a_job_is_kept_off_are_named_beside_the_site_s_requirements():
    off = replace(JOB, exclude=("ep1.pool", "ep2.pool"))
    assert "requirements" not in description()
    assert description(off)["requirements"] == '!member(TARGET.Machine, {"ep1.pool", "ep2.pool"})'
    assert description(requirements="HasGPU || Big")["requirements"] == "HasGPU || Big"
    both = '(HasGPU || Big) && !member(TARGET.Machine, {"ep1.pool", "ep2.pool"})'
    assert description(off, requirements="HasGPU || Big")["requirements"] == both


@pytest.mark.parametrize(("walltime_s", "name"), [(60, "short"), (1200, "short"), (1201, "day"), (86400, "day")])
def test_a_job_gets_the_shortest_class_that_is_long_enough(walltime_s, name):
    runtime = {"attribute": "JobFlavour", "classes": {"day": "1d", "short": "20m"}}
    assert description(replace(JOB, walltime_s=walltime_s), runtime=runtime)["+JobFlavour"] == f'"{name}"'


def test_a_run_time_is_seconds_where_there_are_no_classes_and_refused_beyond_the_longest():
    assert description(runtime={"attribute": "MaxRuntime"})["+MaxRuntime"] == "3600"
    with pytest.raises(UsageError, match=r"no class of options\.runtime lasts 3600 s"):
        description(runtime={"attribute": "JobFlavour", "classes": {"short": "20m"}})


def test_an_image_is_asked_for_in_the_pool_s_way():
    job = replace(JOB, image="/cvmfs/images/worker:latest")
    said = description(job)
    assert (said["universe"], said["container_image"]) == ("container", job.image)
    assert (said["transfer_executable"], "copy_to_spool" in said) == ("true", False), "the script is not one of it"
    assert said["error"].endswith(".err"), "what complains before the script does"
    said = description(job, image_attribute="SingularityImage")
    assert (said["universe"], said["+SingularityImage"]) == ("vanilla", f'"{job.image}"')
    assert (said["copy_to_spool"], "error" in description()) == ("true", False)


PATHS = st.from_regex(r"/[A-Za-z0-9_./:-]{1,40}[a-z]", fullmatch=True)
ADDRESSES = st.from_regex(r"(docker|oras)://[a-z0-9./:-]{1,40}", fullmatch=True)
VARIABLES = st.from_regex(r"\$(HOME|\{SCRATCH\})/[a-z]{1,9}[.]sif", fullmatch=True)


def as_written(image):
    """What the submit language makes of a text that names variables."""
    return re.sub(r"\$\{?([A-Z]+)\}?", r"$ENV(\1)", image)


@given(st.one_of(PATHS, ADDRESSES, VARIABLES), st.sampled_from([None, True, False]), st.booleans(), st.booleans())
def test_every_kind_of_image_is_asked_for_once_in_the_words_of_its_pool(image, brought, older, secret):
    job = replace(JOB, image=image, secret_files={"key": b"canary"} if secret else {})
    attribute = "SingularityImage" if older else "container_image"
    options = {"image_attribute": attribute} | ({} if brought is None else {"transfer_image": brought})
    if older and brought and "://" in image:
        with pytest.raises(UsageError, match=r"options\.transfer_image"):
            description(job, **options)
        return
    said = description(job, **options)
    going = list(filter(None, said.get("transfer_input_files", "").split(", ")))
    assert [name[:8] for name in going[:secret]] == ["secrets-"] * secret
    assert going[secret:] == [as_written(image)] * bool(older and brought)
    if not older:
        assert (said["universe"], said["container_image"]) == ("container", as_written(image))
        stays = None if brought is None or "://" in image else str(brought).lower()
        assert (said.get("transfer_container"), "+SingularityImage" in said) == (stays, False)
        return
    assert said["universe"] == "vanilla"
    assert not {"container_image", "transfer_container"} & set(said)
    name = f"./{as_written(image).rpartition('/')[2]}" if brought else as_written(image)
    assert said["+SingularityImage"] == f'"{name}"'


@given(st.text(max_size=30), st.sampled_from(["container_image", "SingularityImage"]), st.booleans())
def test_no_text_of_an_image_adds_a_line_or_a_macro(text, attribute, brought):
    try:
        said = description(replace(JOB, image=f"/{text}"), image_attribute=attribute, transfer_image=brought)
    except (SiteError, UsageError):
        return
    assert set(said) - set(description()) <= {
        "error", "stream_error", "container_image", "transfer_executable", "transfer_container", "+SingularityImage",
        "transfer_input_files",
    }  # fmt: skip
    asked = said.get("container_image", said.get("+SingularityImage", ""))
    assert "$(" not in asked.replace("$(DOLLAR)", "")


@pytest.mark.parametrize(("inside", "code"), [({}, 1), ({"APPTAINER_CONTAINER": "a"}, 0)])
def test_a_script_that_the_pool_puts_into_no_image_does_not_begin(inside, code, tmp_path):
    backend = HTCondorBackend(replace(SITE, options={"image_attribute": "SingularityImage"}))
    script = backend.script(replace(JOB, image="/a"))
    assert script.startswith("#!/bin/bash\n"), "no login, which would set the PATH of the image anew"
    assert backend.script(JOB).startswith("#!/bin/bash -l\n")
    (tmp_path / "ad").write_text("ClusterId = 1\nProcId = 0\nVrecomputeOnce = false\nNumShadowStarts = 1\n")
    given = {"PATH": "/usr/bin:/bin", "_CONDOR_JOB_AD": "ad", "TMPDIR": str(tmp_path), **inside}
    run = {"cwd": tmp_path, "env": given, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(["bash", "-c", script], **run)
    assert done.returncode == code, done
    assert ("mend options.image_attribute" in done.stdout) == bool(code)


def test_secrets_are_brought_by_the_pool_and_nothing_comes_back():
    said = description(replace(JOB, secret_files={"key": b"canary"}))
    assert re.fullmatch(r"secrets-[0-9a-f]{24}-\$\(Process\)", said["transfer_input_files"])
    assert said["transfer_output_files"] == '""'
    shared = description(replace(JOB, secret_files={"key": b"canary"}), file_transfer=False)
    assert (shared["should_transfer_files"], "transfer_input_files" in shared) == ("NO", False)


def test_what_is_out_of_time_starts_again_as_often_as_is_paid_for():
    assert description()["on_exit_remove"] == "true"
    again = description(replace(JOB, requeue=True))["on_exit_remove"]
    assert again == "(ExitBySignal =?= false && ExitCode =?= 75) =!= true"
    paid = description(replace(JOB, requeue=True, environment={ATTEMPTS: "3"}))["on_exit_remove"]
    assert "NumShadowStarts < 3" in paid


def test_a_job_of_two_machines_is_refused():
    with pytest.raises(UsageError, match=r"ask for at most 2 \(workers.processes\)"):
        description(replace(JOB, workers=3))


def test_attributes_are_literals_and_no_value_adds_a_line():
    said = description(attributes={"Project": 'a "quoted" \\ name', "Nice": True, "Level": 3})
    assert (said["+Project"], said["+Nice"], said["+Level"]) == ('"a \\"quoted\\" \\\\ name"', "true", "3")
    for options in (
        {"attributes": {"A": "x\nqueue 9"}},
        {"attributes": {"a b": "x"}},
        {"requirements": "x\nexecutable = /bin/sh"},
        {"commands": {"rank": "1\nqueue"}},
        {"commands": {"Executable": "/bin/sh"}},
    ):
        with pytest.raises(SiteError):
            description(**options)
    assert description(commands={"concurrency_limits": "db"})["concurrency_limits"] == "db"


def test_a_schedd_elsewhere_keeps_what_jobs_made_until_it_is_retrieved():
    here, said = description(), description(schedd="ap.pool", pool="cm.pool:9618")
    assert "leave_in_queue" not in here
    assert said["leave_in_queue"].startswith("JobStatus == 4 && StageOutFinish =?= undefined && ")
    assert "HoldReasonCode == 16" in said["periodic_remove"], "files that never come are not waited for"
    assert (here["stream_output"], "stream_output" in said) == ("true", False), "what is streamed is not retrieved"
    assert "$$" not in said["output"], "a name that the schedd has not yet made up cannot be retrieved"
    for word in ("a b", "-x", "a;b", "$(x)", "a\nb"):
        with pytest.raises(SiteError):
            description(schedd=word)
