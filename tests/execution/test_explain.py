"""`explain`, `runs` and `attach`: what is known without opening or starting anything."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client, reader
from vrecompute.analysis.loading import load_analysis
from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import SubmitError
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import RunError, UsageError
from vrecompute.execution import fileknowledge
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.sites.model import Site
from vrecompute_backends.local.driver import LocalBackend

CHUNK_BYTES = 3400


@pytest.fixture(scope="module")
def sums(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("analysis") / "sums.py"
    path.write_text(SUM_ANALYSIS)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("events")
    return [str(write_events(folder / f"{seed}.root", 400, seed=seed, clusters=4)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def ran(sums, files, tmp_path_factory):
    """The store of one finished run over the first file, and the run's name."""
    store = tmp_path_factory.mktemp("store")
    with Client(workers=1, threads=2, store=store) as client:
        run = client.run(sums, files[:1], chunk_bytes=CHUNK_BYTES)
        assert run.report(timeout_s=60).status == "complete"
    return store, run.id


def test_what_was_never_opened_is_unknown(sums, files, tmp_path):
    known = Client(store=tmp_path, workers=3).explain(sums, files, chunk_bytes=CHUNK_BYTES)
    assert (known.sources, known.sources_unknown, known.events, known.chunks) == (2, 2, 0, 0)
    assert known.seconds is None
    text = str(known).replace("\xa0", " ")
    assert "2 not opened yet" in text
    for row in ("events", "chunks", "to read", "time"):
        assert re.search(rf"^{row} +not known yet: 2 files not opened$", text, re.MULTILINE), text
    assert list(tmp_path.iterdir()) == [], "explain wrote something"


def test_events_that_the_dataset_tells_are_known_before_its_files_are_opened(sums, files, tmp_path):
    listed = "".join(f"      - {{path: {file}, entries: 400}}\n" for file in files)
    (tmp_path / "told.yaml").write_text(f"schema: 1\nsamples:\n  - name: events\n    files:\n{listed}")
    client = Client(store=tmp_path / "store")
    known = client.explain(sums, str(tmp_path / "told.yaml"), chunk_bytes=CHUNK_BYTES)
    assert (known.sources_unknown, known.events, known.events_declared) == (2, 0, 800)
    assert re.search(r"^events +800, as the dataset says; 2 files not opened$", str(known), re.MULTILINE), str(known)
    first = client.explain(sums, str(tmp_path / "told.yaml"), chunk_bytes=CHUNK_BYTES, max_events=10)
    assert first.events_declared is None


def test_what_a_run_found_is_known_afterwards(sums, files, ran):
    known = Client(store=ran[0], workers=2).explain(sums, files, chunk_bytes=CHUNK_BYTES)
    assert (known.sources, known.sources_unknown) == (2, 1)
    assert (known.events, known.chunks, known.chunks_stored) == (400, 4, 4)
    assert (known.disk_bytes, known.data_bytes) == (0, 0)
    assert known.seconds == 0.0  # all of it is durable
    text = str(known).replace("\xa0", " ")
    assert "400, without 1 file not opened" in text
    assert "4 of them stored" in text
    whole = str(Client(store=ran[0]).explain(sums, files[:1], chunk_bytes=CHUNK_BYTES))
    assert re.search(r"^to read +nothing: every chunk is stored already$", whole, re.MULTILINE), whole


def test_a_column_that_files_lack_is_known_before_the_run(files, tmp_path):
    path = tmp_path / "sums.py"
    path.write_text(SUM_ANALYSIS)
    with Client(workers=1, store=tmp_path / "store") as client:
        client.run(str(path), files, chunk_bytes=CHUNK_BYTES).wait(60)
        path.write_text(SUM_ANALYSIS.replace('["Muon_pt"', '["Muon_pT"'))
        assert path.read_text() != SUM_ANALYSIS
        known = client.explain(str(path), files, chunk_bytes=CHUNK_BYTES)
    assert (known.sources, known.sources_unknown, len(known.bad)) == (2, 0, 2)
    assert "missing-column" in known.bad[0]


def test_a_changed_cut_leaves_the_files_known_and_explain_says_what_the_run_then_reads(sums, files, tmp_path):
    with Client(workers=1, store=tmp_path) as client:
        client.run(sums, files, chunk_bytes=CHUNK_BYTES).wait(60)
        known = client.explain(sums, files, chunk_bytes=CHUNK_BYTES, pt_min_gev=12)
        assert (known.sources_unknown, known.events, known.chunks, known.chunks_stored) == (0, 800, 8, 0)
        ran = client.run(sums, files, chunk_bytes=CHUNK_BYTES, pt_min_gev=12).report(timeout_s=60)
    assert (ran.chunks.computed, ran.bytes) == (known.chunks, known.disk_bytes)
    assert known.seconds is not None
    assert known.seconds > 0
    assert known.rate_of == ""


def test_a_time_that_was_measured_with_other_code_says_so(sums, files, ran, tmp_path):
    edited = tmp_path / "sums.py"
    edited.write_text(SUM_ANALYSIS + "\n\nclass Sums(Sums):\n    offset = 1\n")
    store, run = ran
    known = Client(store=store).explain(str(edited), files[:1], chunk_bytes=CHUNK_BYTES)
    assert known.rate_of == run
    assert f" s on {known.threads} threads, at the speed of run {run}, whose code was another" in str(known)
    assert Client(store=store).explain(sums, files[:1], chunk_bytes=CHUNK_BYTES).rate_of == ""


def test_after_a_changed_cut_no_file_is_inspected_again_and_after_another_column_each_is(sums, files, tmp_path):
    """In one process, whose every opening of a file is seen."""
    opened = []

    class Reader:
        def __getattr__(self, name):
            return lambda *a: (opened.append((name, a[0])), getattr(reader, name)(*a))[1]

    dataset = resolve(files)
    samples, views = {s.name: s for s in dataset.samples}, {s.name: s.process_view() for s in dataset.samples}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fileknowledge, "reader", Reader())
        found = []
        for number, cut in enumerate((10.0, 12.0)):
            analysis = load_analysis(sums, {"pt_min_gev": cut})[0]
            context = PreflightContext(
                analysis, samples, views, f"w{number}", CHUNK_BYTES * (1 + number), str(tmp_path)
            )
            found.append(preflight(context, dataset.sources))
            seen = [path for name, path in opened if name in {"inspect", "tabulate"}]
            assert seen == [f for f in files for _ in range(2)]
        analysis.columns = lambda source: ["Muon_pt"]
        preflight(replace(context, analysis=analysis), dataset.sources)
        assert [path for name, path in opened if name == "inspect"] == files * 2
    assert [s.entries for s in found[1]] == [400, 400]
    assert [s.table for s in found[0]] == [s.table for s in found[1]]
    assert [s.chunks for s in found[0]] == [4, 4]
    assert [s.chunks for s in found[1]] == [2, 2]


def test_without_reuse_nothing_counts_as_done(sums, files, ran):
    known = Client(store=ran[0], workers=1).explain(sums, files[:1], chunk_bytes=CHUNK_BYTES, reuse=False)
    assert known.chunks_stored == 0
    assert known.seconds is not None
    assert known.seconds > 0


def test_explain_opens_no_event_file_and_starts_no_process_and_no_socket(sums, files, ran):
    """In a process of its own, whose every audited event is seen."""
    code = f"""
import sys
seen = []
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".root"):
        seen.append(("open", str(arguments[0])))
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "socket.connect", "socket.bind"):
        seen.append((event, ""))
from vrecompute import Client
client = Client(store={str(ran[0])!r})
sys.addaudithook(hook)
known = client.explain({sums!r}, {files!r}, chunk_bytes={CHUNK_BYTES})
assert known.sources_unknown == 1, known
assert not seen, seen
print("nothing opened")
"""
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", "HOME": str(Path(sums).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "nothing opened", done.stderr


def test_deleted_files_are_unknown_not_an_error(sums, tmp_path, ran):
    known = Client(store=ran[0]).explain(sums, [str(tmp_path / "gone.root")])
    assert (known.sources, known.sources_unknown) == (1, 1)


def test_a_damaged_part_or_outcome_does_not_disturb_it(sums, files, tmp_path):
    with Client(workers=1, store=tmp_path) as client:
        client.run(sums, files[:1], chunk_bytes=CHUNK_BYTES, task_chunks=4).wait(60)
    next(tmp_path.glob("work/*/parts/*.zip")).write_bytes(b"PK")
    next(tmp_path.glob("runs/*/outcomes/*.json")).write_bytes(b"{")
    known = Client(store=tmp_path).explain(sums, files[:1], chunk_bytes=CHUNK_BYTES)
    assert (known.events, known.seconds) == (400, None)
    assert known.chunks_stored < 4


def test_the_script_of_a_detached_run_is_the_one_that_submit_hands_over(sums, files, tmp_path, monkeypatch):
    def same(script):
        return re.sub(r"[0-9]{8}-[0-9]{6}-sums-[0-9a-f]{7}|[0-9a-f]{64}", "X", script)

    client = Client(store=tmp_path / "store", workers=3)
    known = client.explain(sums, files, detach=True, walltime_s=777)
    assert not (tmp_path / "store").exists()
    jobs = []
    monkeypatch.setattr(client.backend, "submit", lambda job: jobs.append(job) or "1")
    run = client.submit(sums, files, walltime_s=777)
    (script,) = map(client.backend.script, jobs)
    assert same(known.script) == same(script)
    assert "--workers 3 " in script
    assert " 777 " in script
    assert f"work {run.id} --store" in script
    manifest = client.store.get(f"runs/{run.id}/manifest.json")
    assert f"--manifest-sha256 {sha256(manifest).hexdigest()}" in script
    assert known.script != client.explain(sums, files).script


@pytest.mark.parametrize("transient", [False, True])
def test_of_a_refused_submission_nothing_is_left_unless_it_may_have_been_taken(sums, files, tmp_path, transient):
    client = Client(store=tmp_path)

    def refuse(job):
        assert len(client.runs()) == 1, "a job may start at once: its run is there before it"
        raise SubmitError("no such partition", transient=transient)

    client.backend.submit = refuse
    with pytest.raises(SubmitError, match="no such partition"):
        client.submit(sums, files)
    assert len(client.runs()) == transient


def test_what_a_driver_denies_is_refused_before_anything_starts(sums, files, tmp_path, monkeypatch):
    def only(**denied):
        monkeypatch.setattr(LocalBackend, "capabilities", Capabilities(**denied))
        return Client(store=tmp_path / "store")

    client = only(workers=False)
    for refused in (client.submit, partial(client.explain, detach=True)):
        with pytest.raises(UsageError, match="site 'local': its driver starts no workers in a job"):
            refused(sums, files)
    assert client.explain(sums, files).sources == len(files)
    client = only(clusters=False)
    for refused in (client.run, client.explain, lambda *given: client.dask):
        with pytest.raises(UsageError, match="site 'local': its driver opens no Dask cluster"):
            refused(sums, files)
    assert "work" in client.explain(sums, files, detach=True).script
    assert client.runs() == []


def test_of_a_run_whose_driver_is_not_installed_nothing_is_left(sums, files, tmp_path):
    client = Client(Site(name="elsewhere", backend="pbs"), store=tmp_path)
    for start in (client.run, client.submit):
        with pytest.raises(UsageError, match="no backend 'pbs'"):
            start(sums, files)
    assert list(tmp_path.iterdir()) == []


def test_runs_are_listed_and_attached_to_without_a_cluster(sums, files, ran):
    client = Client(store=ran[0])
    (facts,) = client.runs()
    assert (facts.run, facts.state, facts.analysis) == (ran[1], "complete", "sums")
    for name in (ran[1], ran[1][-6:], ran[1][:20]):
        assert client.attach(name).report().events.seen == 400
    with pytest.raises(RunError, match=r"no run 'nothing'.*vrecompute runs list"):
        client.attach("nothing")
    assert client.attach(ran[1]).resume().status == "complete"  # nothing to do, and nothing started
    assert not client._site_workers.is_open
