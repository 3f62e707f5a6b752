"""Green means true (law 5): each failure on a really damaged file gives its status, exit code, file and reason."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.errors import DatasetError, Incomplete, RunError, StoreError, UsageError

pytestmark = pytest.mark.usefixtures("lent_workers")

EVENTS, CLUSTERS = 200, 4
CHUNK_BYTES = 1700  # one cluster of 50 events


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=2, memory_bytes=1 << 30, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """An undamaged file of 200 events in 4 clusters."""
    return write_events(tmp_path_factory.mktemp("good") / "good.root", EVENTS, seed=1, clusters=CLUSTERS)


@pytest.fixture
def bad(tmp_path) -> Path:
    """A file of 200 events for the test to damage."""
    return write_events(tmp_path / "bad.root", EVENTS, seed=2, clusters=CLUSTERS)


@pytest.fixture
def analysis(tmp_path):
    """`analysis(process=..., members=...)`: the path of an analysis file with another body, or more members."""

    def write(process: str = "", members: str = "", name: str = "sums.py") -> str:
        head, rest = SUM_ANALYSIS.split("    def process(self, events):\n")
        body = textwrap.indent(textwrap.dedent(process), "        ") if process else rest
        path = tmp_path / name
        path.write_text(
            f"{head}{textwrap.indent(textwrap.dedent(members), '    ')}\n    def process(self, events):\n{body}"
        )
        return str(path)

    return write


@pytest.fixture
def run(client, analysis, tmp_path, monkeypatch):
    """`run(dataset, **options)`: a run that has ended, in this test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")

    def ended(*dataset, given=None, **options):
        options = {"chunk_bytes": CHUNK_BYTES, "task_chunks": 2} | options
        return client.run(given or analysis(), [str(f) for f in dataset], **options).wait(120)

    return ended


def expect_failed(run, kind, file, reason):
    """The run says in every place that it failed, which file it was, and why."""
    report = run.report()
    assert (report.status, run.status, run.exit_code, report.exit_code) == ("failed", "failed", 4, 4)
    failure = next(f for f in report.failures if f.kind == kind)
    assert Path(failure.file).name == Path(file).name
    assert re.search(reason, failure.reason), failure.reason
    with pytest.raises(Incomplete, match=rf"(?s)ended failed.*{re.escape(Path(file).name)}.*{kind}.*{reason}"):
        run.result()


def truncate_to(fraction):
    def damage(path):
        os.truncate(path, int(path.stat().st_size * fraction))

    return damage


def flip(path, column="Muon_pt", basket=1):
    """Turn one byte in the middle of a basket's compressed payload."""
    with uproot.open(path) as file:
        branch = file["Events"][column]
        start, length = int(branch.member("fBasketSeek")[basket]), int(branch.member("fBasketBytes")[basket])
    with path.open("r+b") as file:
        file.seek(start + length // 2)
        byte = file.read(1)
        file.seek(start + length // 2)
        file.write(bytes([byte[0] ^ 0x10]))


def become_directory(path):
    path.unlink()
    path.mkdir()


def lose_column(path):
    with uproot.recreate(path) as file:
        file.mktree("Events", {"run": "int32", "weight": "float64"})
        file["Events"].extend({"run": np.zeros(5, np.int32), "weight": np.ones(5)})


def become_rntuple_without_field(path):
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {"run": np.zeros(5, np.int32), "weight": np.ones(5)})


def lose_tree(path):
    with uproot.recreate(path) as file:
        file["histogram"] = np.histogram([1.0, 2.0])


DAMAGE = {
    "missing tree": (lose_tree, "missing-tree", "holds no tree"),
    "another tree": (lambda p: write_events(p, 10, tree="Other") and None, "missing-tree", "'Events'.*'Other'"),
    "missing column": (lose_column, "missing-column", "lacks 'Muon_pt'"),
    "field absent from an RNTuple": (become_rntuple_without_field, "missing-column", "lacks 'Muon_pt'"),
    "truncated by a byte": (lambda p: os.truncate(p, p.stat().st_size - 1), "corrupt", "truncated"),
    "truncated in its keys": (truncate_to(0.97), "corrupt", "truncated"),
    "truncated in its baskets": (truncate_to(0.4), "corrupt", "truncated"),
    "truncated in its header": (lambda p: os.truncate(p, 60), "corrupt", r"cannot be decoded|truncated|not a ROOT"),
    "empty": (lambda p: os.truncate(p, 0), "corrupt", r"is empty \(0 bytes\)"),
    "no ROOT file": (lambda p: p.write_text("energy,counts\n" * 90), "corrupt", "header cannot be decoded|not a ROOT"),
    "a text that begins as one": (
        lambda p: p.write_text("root:x:0:0:root:/root:/bin/sh\n" * 9),
        "corrupt",
        "not a ROOT",
    ),
    "absent": (Path.unlink, "unreadable", "No such file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_bad_file_fails_the_run_or_is_left_out_and_named(name, run, bad, good):
    damage, kind, reason = DAMAGE[name]
    damage(bad)
    # The tree is named, as where nobody has to guess which of several is meant.
    expect_failed(run(bad, good, tree="Events"), kind, bad, reason)

    skipped = run(bad, good, tree="Events", on_bad="skip")
    report = skipped.report()
    assert (report.status, skipped.exit_code) == ("partial", 3)
    assert [Path(f.file).name for f in report.failures] == ["bad.root"]
    assert {Path(f.file).name: f.seen for f in report.files} == {"bad.root": 0, "good.root": EVENTS}
    with pytest.raises(Incomplete, match=rf"ended partial.*bad\.root: {kind}.*allow_partial"):
        skipped.result()
    assert skipped.result(allow_partial=True)["events"].events == EVENTS


def test_a_directory_that_looks_like_a_file_is_unreadable(run, bad):
    become_directory(bad)
    expect_failed(run(bad.parent / "*.root"), "unreadable", bad, "[Dd]irectory")


def test_a_flipped_byte_in_a_basket_costs_its_chunk_and_no_other(run, bad, good):
    flip(bad)
    expect_failed(run(bad, good), "corrupt", bad, r"column 'Muon_pt', entries \[50, 100\)")
    skipped = run(bad, good, on_bad="skip")
    report = skipped.report()
    assert (report.status, skipped.exit_code) == ("partial", 3)
    assert (report.events.seen, report.events.expected) == (2 * EVENTS - 50, 2 * EVENTS)
    assert (report.chunks.total, report.chunks.failed) == (8, 1)
    assert [f.chunk for f in report.failures] == [(50, 100)]


@pytest.mark.parametrize(("holds", "says"), [(0, 100), (200, 100), (100, 0)])
def test_a_file_that_holds_other_than_its_catalogue_says(run, good, tmp_path, holds, says):
    write_events(tmp_path / "bad.root", holds, clusters=1)
    catalogue = tmp_path / "dataset.yaml"
    catalogue.write_text(
        f"schema: 1\nsamples:\n- name: zmumu\n  files:\n  - {{path: bad.root, entries: {says}}}\n  - {good}\n"
    )
    more = "more" if holds > says else "fewer"
    expect_failed(run(catalogue), "entries", "bad.root", f"holds {holds} events, {more} than the {says} that the")
    skipped = run(catalogue, on_bad="skip").report()
    assert (skipped.status, skipped.events.seen, skipped.events.expected) == ("partial", EVENTS, EVENTS + says)


def test_no_events_at_all_are_complete_and_warned_of(run, tmp_path):
    empty = write_events(tmp_path / "empty.root", 0, clusters=1)
    ended = run(empty)
    assert (ended.report().status, ended.exit_code) == ("complete", 0)
    assert any("empty.root holds no events" in w for w in ended.report().warnings)
    assert ended.result()["events"].events == 0


def test_a_category_axis_without_categories_is_saved_with_its_page(run, good, analysis, tmp_path):
    process = """
    empty = bh.Histogram(bh.axis.StrCategory([]), bh.axis.Regular(3, 0, 1))
    endless = bh.Histogram(bh.axis.Variable([0, 1, np.inf]))
    return Result(histograms={"empty": empty, "endless": endless})
    """
    ended = run(good, given=analysis(process=process))
    assert ended.report().status == "complete"
    out = ended.save(tmp_path / "out")
    assert "endless" in (out / "report.html").read_text()
    assert (out / "result" / "histograms.root").is_file()


def test_an_empty_selection_is_a_warning_that_names_sample_and_channel(run, good):
    ended = run(good, pt_min_gev=1e6)
    assert ended.exit_code == 0
    assert any(re.search("'events'.*no event passes.*'mu'", w) for w in ended.report().warnings)


def test_a_file_rewritten_between_preflight_and_reading_is_changed(run, bad, good, analysis, tmp_path):
    other = write_events(tmp_path / "other.root", EVENTS, seed=9, clusters=CLUSTERS)
    rewriting = analysis(
        members=f"""
        def columns(self, source):
            import os
            if source.path.endswith("bad.root") and os.path.exists({str(other)!r}):
                os.replace({str(other)!r}, source.path)
            return ["Muon_pt", "weight", "run"]
        """
    )
    expect_failed(run(bad, good, given=rewriting), "changed", bad, "not the planned file: UUID was .*, is now .*")


def test_a_file_rewritten_after_planning_is_changed_for_whoever_resumes(run, client, bad):
    first = run(bad)
    store = Path(first.store.url)
    shutil.rmtree(store / "runs" / first.id / "outcomes")
    shutil.rmtree(store / "runs" / first.id / "events")
    for part in store.glob("work/*/parts/*.zip"):
        part.unlink()
    write_events(bad, EVENTS, seed=3, clusters=CLUSTERS)
    expect_failed(client.attach(first.id).resume().wait(60), "changed", bad, "not the planned file: UUID")


def test_a_file_rewritten_with_equal_size_and_old_date_is_opened_again(run, bad):
    first = run(bad)
    status = bad.stat()
    data = bytearray(bad.read_bytes())
    data[47:63] = bytes(range(16))  # its UUID: the identity of another file
    with bad.open("r+b") as file:
        file.write(data)
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert bad.stat().st_mtime_ns == status.st_mtime_ns
    again = run(bad).report()
    assert (again.status, again.chunks.computed, again.chunks.reused) == ("complete", CLUSTERS, 0)
    assert first.report().chunks.computed == CLUSTERS


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        ("return None", "process returned NoneType"),
        ("return {'pt': 1.0}", "process returned dict"),
        ("raise RuntimeError('detector on fire')", r"sums\.py:[0-9]+ in process: RuntimeError: detector on fire"),
        ("return Result(counters={'n': float('nan')})", "counter 'n' is nan"),
        ("return Result(counters={'n': 'many'})", "counter 'n' is a str"),
        ("return Result(cutflow={'mu': {'all': float('inf')}})", "cut 'all' of channel 'mu' is inf"),
        ("return Result(cutflow={'mu': 3})", "cutflow of 'mu'.*not a int"),
        ("return Result(histograms={'pt': np.zeros(3)})", "histogram 'pt' is a ndarray"),
        ("return Result(histograms={'h': bh.Histogram(bh.axis.Integer(1, 1))})", "'h' has an axis without bins"),
        ("return Result(tables={'../x': {}})", "skim table '../x': choose a name of letters"),
        ("return Result(arrays={'x': np.zeros(3)})", "array 'x' is a ndarray"),
        ("return Result(arrays={'x': Array(np.array([{}]))})", "array 'x' is a ndarray of object"),
        ("return Result(arrays={'x': Array(np.array([None]))})", "array 'x' is masked or missing"),
        ("return Result(arrays={'x': Array(np.zeros(1 + events.start))})", "cannot add arrays of shapes"),
        (
            "return Result(histograms={'h': bh.Histogram(bh.axis.Regular(1 + events.start, 0, 1))})",
            "'h' cannot be combined",
        ),
        ("return events.flat('Moun_pt')", "'Moun_pt' is not a declared column.*Muon_pt"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_trouble_in_the_code_fails_the_run_whatever_the_policy(run, good, analysis, process, reason):
    expect_failed(run(good, given=analysis(process=process), on_bad="skip", max_bad=1.0), "code", good, reason)


def test_the_message_of_failing_code_ends_with_its_traceback(run, good, analysis):
    ended = run(good, given=analysis(process="return self._missing_helper(events)"))
    with pytest.raises(Incomplete, match=r"(?s)Traceback.*sums\.py.*_missing_helper"):
        ended.result()


def test_results_of_two_files_that_do_not_combine_fail_the_run(run, good, bad, analysis):
    process = "return Result(arrays={'x': Array(np.zeros(2 if 'good' in events.source else 3))})"
    ended = run(good, bad, given=analysis(process=process, members='reads_facts = ("source",)'))
    report = ended.report()
    assert (report.status, ended.exit_code) == ("failed", 4)
    assert any("cannot add arrays of shapes" in f.reason for f in report.failures)


def test_more_bad_files_than_the_quota_allows_fail_the_run(run, good, bad):
    bad.unlink()
    report = run(good, bad, on_bad="skip", max_bad=0.4).report()
    assert report.status == "failed"
    assert any(re.search(r"1 of 2 sources are bad.*max_bad=0\.4.*--max-bad", w) for w in report.warnings)
    assert run(good, bad, on_bad="skip", max_bad=0.5).report().status == "partial"


def test_a_part_of_nothing_is_failed(run, bad):
    bad.unlink()
    assert run(bad, on_bad="skip", max_bad=1.0).report().status == "failed"


@pytest.mark.parametrize(
    "settings", [{"on_bad": "ignore"}, {"max_bad": 2}, {"chunk_bytes": 0}, {"task_chunks": 0}, {"task_s": -1}]
)
def test_settings_that_make_no_sense_are_refused_before_anything_starts(run, good, settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        run(good, **settings)


def test_the_same_file_under_two_paths_is_refused_or_counted_twice(run, good, tmp_path):
    copy = Path(shutil.copy(good, tmp_path / "copy.root"))
    expect_failed(run(good, copy), "duplicate", copy, r"is the same file as .*good\.root.*--allow-duplicates")
    # No policy for bad files excuses it: both files are good.
    assert run(good, copy, on_bad="skip", max_bad=1.0).report().status == "failed"
    with pytest.raises(DatasetError, match="listed twice"):
        run(good, good)
    once, thrice = run(good).result(), run(good, good, copy, allow_duplicates=True)
    assert thrice.report().status == "complete"
    assert thrice.result()["events"].events == 3 * EVENTS
    assert thrice.result()["events"].cutflow["mu"]["pt"] == 3 * once["events"].cutflow["mu"]["pt"]


def test_a_file_of_two_samples_counts_in_each(run, good, tmp_path):
    catalogue = tmp_path / "dataset.yaml"
    catalogue.write_text(f"schema: 1\nsamples:\n- {{name: a, files: [{good}]}}\n- {{name: b, files: [{good}]}}\n")
    ended = run(catalogue)
    assert ended.report().status == "complete"
    assert ended.result()["a"].counters == ended.result()["b"].counters
    assert [s.events.seen for s in ended.report().samples] == [EVENTS, EVENTS]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 320 KiB, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_the_next_run_reuses_what_is_there(
    client, small_disk, analysis, good, bad, monkeypatch
):
    folder, enlarge = small_disk
    monkeypatch.setattr(client, "_store_given", folder / "store")
    # 40 kB a chunk that no codec shrinks; eight chunks are as much as the whole disk.
    large = analysis(
        process="""
        random = np.random.default_rng(events.start + int(1e6 * events.flat("weight")[0]) % 999)
        return Result(arrays={"x": Array(random.random(5000), "concat")})
        """
    )
    files = [str(good), str(bad)]
    full = client.run(large, files, chunk_bytes=CHUNK_BYTES, task_chunks=1).wait(120)
    report = full.report()
    assert (report.status, full.status, full.exit_code) == ("failed", "failed", 4)
    assert any(re.search("no space left.*everything written before is durable", f.reason) for f in report.failures)
    with pytest.raises(Incomplete, match="no space left"):
        full.result()
    durable = len(list(folder.glob("store/work/*/parts/*.zip")))
    assert 0 < durable < 8

    enlarge()
    again = client.run(large, files, chunk_bytes=CHUNK_BYTES, task_chunks=1).wait(120)
    assert again.report().status == "complete"
    assert again.report().chunks.reused >= durable
    assert len(again.result()["events"].arrays["x"].values) == 8 * 5000


def test_a_damaged_manifest_is_named_and_the_other_runs_are_listed(run, client, good):
    damaged, whole = run(good), run(good)
    path = Path(damaged.store.url) / "runs" / damaged.id / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"pt_min_gev":10.0', b'"pt_min_gev":11.0'))
    with pytest.raises(StoreError, match=rf"runs/{damaged.id}/manifest\.json is damaged.*run the analysis again"):
        client.attach(damaged.id)
    assert {f.run: f.state for f in client.runs()} == {damaged.id: "damaged", whole.id: "complete"}


@pytest.mark.parametrize("wrong", [b"{}", b"", None])
def test_a_damaged_plan_is_made_again_by_who_resumes_and_said(run, client, good, wrong):
    first = run(good)
    folder = Path(first.store.url) / "runs" / first.id
    shutil.rmtree(folder / "outcomes")
    shutil.rmtree(folder / "events")
    plan = folder / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b"50,100", b"40,100") if wrong is None else wrong)
    resumed = client.attach(first.id).resume().wait(60)
    assert (resumed.status, resumed.report().chunks.reused) == ("complete", CLUSTERS)
    assert any("plan.json was damaged in the store" in w for w in resumed.report().warnings)
    assert next((folder.parent.parent / "aside" / "runs" / first.id).glob("plan.json.*"))


def test_what_preflight_kept_is_found_damaged_and_made_again(run, good):
    first = run(good)
    kept = next(Path(first.store.url).glob("sources/*.json"))
    kept.write_bytes(kept.read_bytes().replace(b'"entries":200', b'"entries":100'))
    assert run(good).report().events.expected == EVENTS


def test_a_damaged_outcome_is_none_and_the_run_can_be_taken_up(run, client, good):
    first = run(good)
    next(Path(first.store.url).glob("runs/*/outcomes/*.json")).write_bytes(b'{"status": "comp')
    shutil.rmtree(Path(first.store.url) / "runs" / first.id / "events")
    attached = client.attach(first.id)
    assert attached.status == "interrupted"
    assert attached.resume().report(timeout_s=60).chunks.reused == CLUSTERS


def test_a_damaged_result_is_never_handed_out(run, good):
    first = run(good)
    result = next(Path(first.store.url).glob("runs/*/results/*.zip"))
    data = bytearray(result.read_bytes())
    data[len(data) // 2] ^= 1
    result.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        first.result()


FINISH = """
from pathlib import Path


def broken(results, analysis, context):
    raise ValueError("the fit does not converge")


def finish(results, analysis, context):
    (context.directory / "note.txt").write_text(context.completeness_text)
    return {"complete": context.complete, "stated": context.completeness_text}


def figures(products, results, context):
    path = Path(context.directory) / "pt.svg"
    path.write_text(f"<svg xmlns='http://www.w3.org/2000/svg'><text>{context.completeness_text}</text></svg>")
    return [path]
"""


@pytest.fixture
def finishing(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "truth_finish.py").write_text(FINISH)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("finishing")
def test_finish_that_raises_fails_the_run_and_keeps_the_result(run, good, analysis):
    ended = run(good, given=analysis(members='finish_function = "truth_finish:broken"\n'))
    expect_failed(ended, "finish", "truth_finish:broken", "ValueError: the fit does not converge.*result is complete")
    assert ended.result(allow_partial=True).to_bytes() == run(good).result().to_bytes()
    assert ended.products() == {}


@pytest.mark.usefixtures("finishing")
def test_what_is_missing_is_stated_in_products_figures_and_report(run, good, bad, analysis, tmp_path):
    flip(bad)
    members = 'finish_function = "truth_finish:finish"\nfigures_function = "truth_finish:figures"\n'
    ended = run(good, bad, given=analysis(members=members), on_bad="skip")
    text = ended.report().completeness_text
    assert re.search("350.*400", text)
    assert ended.products() == {"complete": False, "stated": text}
    out = ended.save(tmp_path / "out")
    assert (out / "products" / "note.txt").read_text() == text
    assert text in (out / "figures" / "pt.svg").read_text()
    page = (out / "report.html").read_text()
    assert "bad.root" in page
    assert "column &#39;Muon_pt&#39;" in page or "column 'Muon_pt'" in page


def test_deleting_a_run_that_runs_is_refused(client, good, analysis, run):
    started = client.run(analysis(), [str(good)], chunk_bytes=CHUNK_BYTES, sleep_s=0.5)
    with pytest.raises(RunError, match="is running"):
        started.delete()
    started.cancel()
    assert started.report(timeout_s=60).status in {"cancelled", "complete"}
