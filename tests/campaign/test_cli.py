"""The command line of campaigns, what it prints, and what a tick leaves for people and monitors."""

from __future__ import annotations

import http.server
import json
import re
import threading

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from tests.campaign.campaigns import CampaignFolder
from vrecompute.campaign.page import metrics_text, page
from vrecompute.cli.campaign import campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A campaign of two files, one of them bad, after two ticks."""
    place = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place / "state"))
        mails = place / "mails"
        (place / "sendmail").write_text(f'#!/bin/sh\necho "$@" >> {mails}\ncat >> {mails}\n')
        (place / "sendmail").chmod(0o755)
        made = CampaignFolder(
            place,
            retry={"attempts": 1},
            page="status.html",
            metrics="m.prom",
            notify={"mail": ["operator@example.org"], "sendmail": "sendmail"},
        )
        made.add("a")
        (place / "data" / "bad <b>.root").write_bytes(b"no events")
        assert made.tick().exit_code == 3
        yield made


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(campaign, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_status_says_what_is_done_and_what_failed(folder):
    text = run("status", folder.file)
    assert re.search(r"^sums/photons  done ", text, re.MULTILINE)
    assert "bad <b>.root: in quarantine in sums/photons: corrupt: " in text
    told = json.loads(run("status", folder.file, "--json"))
    assert told["units_by_state"] == {"done": 1}
    assert told["chunks_computed_total"] == 1
    assert told["inputs"] == {"there": 2, "vanished": 0}
    assert [tick["exit_code"] for tick in told["ticks"]] == [3]


def test_history_and_why_say_with_which_code_and_inputs(folder):
    assert re.search(r"published +sums/photons", run("history", folder.file))
    (entry,) = json.loads(run("history", folder.file, folder.folder / "data" / "a.root", "--json"))
    assert entry["what"] == "input new"
    told = json.loads(run("why", folder.file, "sums/photons", "--json"))
    first, last = told["attempts"]
    assert (first["status"], last["status"]) == ("partial", "complete")
    assert last["result_sha256"] == folder.report()["result_sha256"]
    assert last["code"] == folder.report()["analysis"]["digest"]
    (one,) = json.loads(run("why", folder.file, last["run"], "--json"))["attempts"]
    assert list(one["files"]) == [str(folder.folder / "data" / "a.root")]
    assert "result_sha256" in run("why", folder.file, "sums/photons")
    # a file by its path from beside the campaign file
    assert "input new" in run("why", folder.file, "data/a.root")
    assert "input new" in run("history", folder.file, "data/a.root")
    assert "knows no unit, run, dataset or file 'a.root'" in CliRunner().invoke(
        campaign, ["history", str(folder.file), "a.root"]
    ).output  # fmt: skip
    assert "knows no unit, run, dataset or file 'sums/photon'" in CliRunner().invoke(
        campaign, ["why", str(folder.file), "sums/photon"]
    ).output  # fmt: skip


def test_verify_compares_bytes(folder):
    assert run("verify", folder.file).count("same") == 2
    published = folder.product() / "result" / "result.zip"
    data = published.read_bytes()
    try:
        published.write_bytes(data[:-1] + b"x")
        assert "its sha256 is not the one of the ledger" in run("verify", folder.file, "--sample", 0, code=4)
    finally:
        published.write_bytes(data)
    assert "nothing is published of 'x'" in CliRunner().invoke(campaign, ["verify", str(folder.file), "x"]).output


def test_export_has_every_table(folder):
    told = json.loads(run("export", folder.file))
    assert {"units", "attempts", "inputs", "troubles", "ticks", "history"} == told.keys()
    lines = run("export", folder.file, "--csv", "inputs").splitlines()
    assert lines[0].startswith("dataset,address,stamp,size,")
    assert len(lines) == 3
    assert run("export", folder.file, "--csv", "nothing", code=2) == ""


def test_the_page_is_for_people_and_escapes_what_it_shows(folder):
    text = (folder.folder / "status.html").read_text()
    assert "bad &lt;b&gt;.root" in text
    assert "<b>.root" not in text
    assert 'name="viewport"' in text
    assert "default-src 'none'" in text
    assert "<script" not in text


def test_metrics_are_prometheus_text(folder):
    text = (folder.folder / "m.prom").read_text()
    for line in text.splitlines():
        assert re.fullmatch(
            r"# (HELP|TYPE) vrecompute_campaign_\w+ .+|vrecompute_campaign_\w+\{[^}]*\} [\d.e+-]+", line
        )
    assert 'vrecompute_campaign_inputs_quarantined{campaign="lat"} 1' in text
    assert 'vrecompute_campaign_last_tick_exit_code{campaign="lat"} 3' in text


def test_trouble_is_mailed_and_so_is_its_end_once(folder):
    mails = (folder.folder / "mails").read_text()
    assert mails.count("To: operator@example.org") == 1
    assert "Subject: [vrecompute] lat: " in mails
    assert mails.startswith("-t -i\n")
    told = CliRunner().invoke(campaign, ["tick", str(folder.file)])
    assert (told.exit_code, told.output) == (6, "")
    assert (folder.folder / "mails").read_text().count("To: ") == 2
    assert CliRunner().invoke(campaign, ["tick", str(folder.file)]).exit_code == 6
    assert (folder.folder / "mails").read_text().count("To: ") == 2


def test_a_webhook_is_called_and_its_secret_address_shown_nowhere(tmp_path, monkeypatch):
    got: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(got) == 2 else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = CampaignFolder(tmp_path / "c", notify={"webhook_from": "HOOK"}, analyses=[{"name": "nonesuch"}])
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}/canary-s3cr3t")
    made.add("a")
    told = CliRunner().invoke(campaign, ["tick", str(made.file)])
    assert told.exit_code == 2
    assert "nonesuch/photons: " in told.output
    assert (got[0]["campaign"], got[0]["exit_code"]) == ("lat", 2)
    made.write(analyses=[{"name": "sums.py", "key": "sums"}], window=_closed())
    told = CliRunner().invoke(campaign, ["tick", str(made.file), "-v"])
    assert "the webhook answered 500" in told.stderr
    assert "not told" in made.happened()
    for path in made.folder.rglob("*"):
        assert not path.is_file() or b"canary-s3cr3t" not in path.read_bytes(), path
    server.shutdown()


def _closed():
    """A window that is not open now."""
    from datetime import UTC, datetime, timedelta

    later = datetime.now(UTC) + timedelta(hours=6)
    return {"start": f"{later:%H:%M}", "end": f"{later + timedelta(hours=1):%H:%M}", "timezone": "UTC"}


@pytest.mark.parametrize("kind", ["cron", "systemd", "scrontab", "kubernetes"])
def test_crontab_counts_nothing_to_do_as_success(folder, kind):
    text = run("crontab", folder.file, "--for", kind, "--every", 30)
    assert {"systemd": "SuccessExitStatus=6"}.get(kind, "|| [ $? -eq 6 ]") in text
    assert "campaign" in text
    if kind == "kubernetes":
        document = yaml.safe_load(text)
        assert document["spec"]["schedule"] == "*/30 * * * *"
        assert document["spec"]["concurrencyPolicy"] == "Forbid"
    if kind in ("cron", "scrontab"):
        assert re.search(r"^\*/30 \* \* \* \* \S+", text, re.MULTILINE)


def test_ticks_are_as_far_apart_as_was_asked_for(folder):
    assert run("crontab", folder.file, "--every", 60).startswith("0 * * * * ")
    assert "OnCalendar=hourly" in run("crontab", folder.file, "--every", 60, "--for", "systemd")
    assert "OnCalendar=*:0/20" in run("crontab", folder.file, "--every", 20, "--for", "systemd")
    told = CliRunner().invoke(campaign, ["crontab", str(folder.file), "--every", "45"])
    assert told.exit_code == 2
    assert "ticks 45 minutes apart cannot be written as one line" in told.output
    assert "choose one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60" in told.output


def test_check_looks_at_no_dataset(folder, tmp_path):
    assert "ok: campaign lat, 1 units" in run("check", folder.file)
    (tmp_path / "c.yaml").write_text("schema: 2\n")
    assert (
        "c.yaml:1:9: schema: expected 1, found 2"
        in CliRunner().invoke(campaign, ["check", str(tmp_path / "c.yaml")]).output
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(run("schema")))


def test_an_empty_campaign_has_a_page_and_metrics():
    empty = {
        "campaign": "lat", "now": "2026-01-01T00:00:00+00:00", "units": [],
        "units_by_state": {}, "inputs_failing": [], "ticks": [],
        "inputs": {"there": 0, "vanished": 0}, "chunks_computed_total": 0, "chunks_reused_total": 0,
        "core_hours_total": 0.0,
    }  # fmt: skip
    assert "nothing to do" in page(empty, [], 6, "")
    assert 'last_tick_exit_code{campaign="lat"} 6' in metrics_text(empty, 6, 0.0)
