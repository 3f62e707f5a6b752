"""Campaign files: every mistake at once, each at its line and column; the schema is the one the code gives."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.campaign.load import parse_campaign, read_campaign
from vrecompute.campaign.model import campaign_schema
from vrecompute.campaign.wanted import run_name, units_of
from vrecompute.config.marked_yaml import parse_yaml, plain
from vrecompute.errors import UsageError

ROOT = Path(__file__).parents[2]
GOOD = """\
schema: 1
name: lat
ledger: lat.sqlite
products: products
datasets: [{name: photons, files: [data/*.root]}, {name: calibration, files: [cal]}]
analyses:
  - {name: dilepton, priority: 1, parameters: {channel: mumu, mass_window_gev: [81, 101]}, datasets: [photons]}
  - {name: sums.py, key: sums}
"""


def test_a_file_says_what_is_wanted(tmp_path):
    (tmp_path / "c.yaml").write_text(GOOD + ["sites: [here.yaml, cluster]\n", ": store\n"][0])
    read = read_campaign(tmp_path / "c.yaml")
    assert [unit.name for unit in units_of(read)] == ["dilepton/photons", "sums/photons", "sums/calibration"]
    assert read.campaign.analyses[0].parameters == {"channel": "mumu", "mass_window_gev": "81,101"}
    assert read.ledger == tmp_path / "lat.sqlite"
    assert read.analysis("sums.py") == str(tmp_path / "sums.py")
    assert read.analysis("dilepton") == "dilepton"
    assert (read.site(0), read.site(1)) == (str(tmp_path / "here.yaml"), "cluster")


WRONG = """\
schema: 1
name: lat
leger: a.sqlite
products: rucio://scope/x
datasets:
  - {name: a, files: [x/*.root]}
  - {name: a, dids: ["scope:name"]}
  - {name: empty}
analyses:
  - {name: dilepton, datasets: [b]}
  - {name: sums.py}
window: {start: 25:00, end: "04:00", timezone: Europe/Berln}
budget: {core_hours_per_tick: -1}
retry: {attempts: 0}
notify: {webhook: "https://x.org/a", webhook_from: HOOK}
"""


def test_all_mistakes_of_a_file_come_at_once():
    with pytest.raises(UsageError) as told:
        parse_campaign(WRONG.encode(), "c.yaml")
    lines = str(told.value).splitlines()
    assert lines[0] == "campaign file c.yaml has 12 problems:"
    expected = [
        ("3:1", "unknown key 'leger'; did you mean 'ledger'?"),
        ("4:11", "products: 'rucio://scope/x' is a place of Rucio, into which this version puts no products; write"),
        ("7:5", "datasets[1]: two datasets are called 'a'"),
        ("7:15", "datasets[1].dids: Rucio DIDs are not resolved by this version; list `files`"),
        ("8:5", "datasets[2]: dataset 'empty' names no files"),
        ("10:33", "analyses[0].datasets: there is no dataset 'b'"),
        ("11:5", "analyses[1]: analysis 'sums.py' needs a `key`"),
        ("12:17", "window.start: '25:00' is not a time of day"),
        ("12:48", "window.timezone: 'Europe/Berln' is not a time zone that this machine knows; did you mean"),
        ("13:31", "budget.core_hours_per_tick: expected a number above 0"),
        ("14:19", "retry.attempts: expected a whole number from 1 up"),
        ("15:19", "notify.webhook: webhook_from is given too"),
    ]
    for (place, words), line in zip(expected, lines[1:], strict=True):
        assert line.startswith(f"  c.yaml:{place}: {words}"), line


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("window: {start: '01:00', end: '01:00', timezone: UTC}", "it begins and ends at one time"),
        ("sites: []", "expected at least 1 item"),
        ("notify: {mail: ['-oQ/tmp']}", "is not an address of mail"),
        ("window: {start: '01:00', end: '02:00', timezone: UTC, days: [monday]}", "did you mean 'mon'?"),
        ("retention: {versions: 0}", "write at least 1"),
        ("walltime: 12", "walltime: "),
    ],
)
def test_a_value_that_cannot_be(more, words):
    with pytest.raises(UsageError) as told:
        parse_campaign((GOOD + more).encode(), "c.yaml")
    assert words in str(told.value)
    assert "c.yaml:9:" in str(told.value)


def test_the_committed_schema_is_the_one_the_code_gives():
    committed = json.loads((ROOT / "vrecompute" / "campaign" / "campaign.schema.json").read_text())
    assert committed == json.loads(json.dumps(campaign_schema())), (
        "run: vrecompute campaign schema > vrecompute/campaign/campaign.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(committed)


@pytest.mark.checkout
def test_the_example_of_the_page_is_right():
    text = (ROOT / "docs" / "campaigns.md").read_text().split("```yaml\n")[1].split("```")[0]
    campaign = parse_campaign(text.encode(), "campaign.yaml")
    assert campaign.name
    tree, _ = parse_yaml(text, "campaign.yaml")
    assert [e.message for e in jsonschema.Draft202012Validator(campaign_schema()).iter_errors(plain(tree))] == []


@given(st.text(min_size=1, max_size=300), st.text("abcdef0123456789", min_size=64, max_size=64), st.integers(1, 999))
def test_names_of_runs_are_names(unit, want, attempt):
    name = run_name("lat", unit, want, attempt)
    assert name == run_name("lat", unit, want, attempt)
    assert len(name.encode()) < 200
    assert all(c.isalnum() or c in "_.-" for c in name)
    assert name != run_name("lat", unit, want, attempt + 1)
