"""What is generated from the dataclasses is fresh: the JSON schema for editors, the table of keys for people."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from vrecompute.cli.site import site as command
from vrecompute.config.marked_yaml import parse_yaml, plain
from vrecompute.sites.reference import options_table, reference_table
from vrecompute.sites.schema import installed_options, site_schema
from vrecompute_backends.htcondor.options import HTCondorOptions
from vrecompute_backends.slurm.options import SlurmOptions

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "site_configs").glob("*.yaml"))


def run(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    return result.exit_code, result.output


def test_the_committed_schema_is_the_one_the_code_gives():
    committed = json.loads((ROOT / "site_configs" / "site.schema.json").read_text())
    assert committed == json.loads(json.dumps(site_schema({"htcondor": HTCondorOptions, "slurm": SlurmOptions}))), (
        "run: vrecompute site schema > site_configs/site.schema.json"
    )


def test_the_documented_keys_are_the_ones_the_code_has():
    text = (ROOT / "docs" / "sites.md").read_text()
    table = text.split("<!-- keys -->\n")[1].split("\n<!-- end of keys -->")[0]
    assert table == reference_table(), "run: vrecompute site schema --table"
    assert run("schema", "--table") == (0, reference_table() + "\n")


@pytest.mark.parametrize("driver", sorted(installed_options()))
def test_the_documented_options_are_the_ones_the_driver_has(driver):
    model = installed_options()[driver]
    table = (ROOT / "docs" / f"{driver}.md").read_text().split("<!-- options -->\n")[1]
    assert table.split("\n<!-- end of options -->")[0] == options_table(model), f"run: site schema --options {driver}"
    assert run("schema", "--options", driver) == (0, options_table(model) + "\n")
    for line in options_table(model).splitlines()[2:]:
        assert len(line.split(" | ")[3]) > 10, f"no sentence: {line}"


def test_a_driver_without_options_is_told_so():
    for name in ("local", "nonesuch"):
        result = CliRunner().invoke(command, ["schema", "--options", name])
        assert result.exit_code == 2
        assert "drivers here: " in result.output


def test_schema_prints_a_schema():
    code, output = run("schema")
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(output))


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "site_configs" / "site.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_editor_finds_nothing_wrong_in_the_examples(path, validator):
    tree, _ = parse_yaml(path.read_text(), path.name)
    assert [error.message for error in validator.iter_errors(plain(tree))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": {"memory": "80Gib"}},
        {"workers": {"walltime": "12:30"}},
        {"wrokers": {}},
        {"scheduler_runs": "nowhere"},
        {"network": {"tls": "yes"}},
        {"options": {"launcher": "sruun"}},
        {"options": {"acount": "x"}},
        {"environment": {"variables": {"my-var": "x"}}},
        {"name": "two words"},
        {"name": None},
        {"backend": None},
    ],
    ids=str,
)
def test_an_editor_marks_what_is_wrong(wrong, validator):
    assert not validator.is_valid({"name": "x", "backend": "slurm"} | wrong)


def test_an_editor_accepts_null_and_parts_that_extend(validator):
    part = {"name": "x", "extends": ["a", "./b.yaml"], "limits": {"min_poll": None}, "access": {"ssh": {"user": "me"}}}
    assert [error.message for error in validator.iter_errors(part)] == []


def test_examples_are_yaml_to_other_readers_too():
    for path in EXAMPLES:
        assert yaml.safe_load(path.read_text())["name"] == path.stem
