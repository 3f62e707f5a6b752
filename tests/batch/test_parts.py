"""The parts of a poll: which ids an answer does not tell of, and what is read of one that is no answer."""

from __future__ import annotations

import json
import subprocess

from vrecompute.batch.array_tasks import array_ids
from vrecompute.batch.json_answer import json_at, json_records
from vrecompute.batch.parts import ASK_AND_TELL, Part


def untold(ids, known):
    command = ["sh", "-c", ASK_AND_TELL + 'untold "$1" "$2"', "sh", ",".join(ids), "\n".join(known)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_ids_that_an_answer_does_not_tell_of_are_asked_for_elsewhere():
    assert untold(["7", "8.0", "8.1", "12_3"], ["8.0", "1", "12_3"]) == ["7", "8.1"]
    assert untold(["7", "8"], ["8", "7"]) == []
    assert untold(["7", "77"], []) == ["7", "77"]


def test_of_thousands_each_is_found():
    ids = [f"{n}_{m}" for n in range(50) for m in range(100)]
    assert untold(ids, ids[1:-1]) == [ids[0], ids[-1]]


def part(text, code=0):
    return Part(code, None, text.splitlines())


def test_what_failed_or_has_another_shape_is_no_answer_and_not_an_empty_one():
    assert part("[1]").read(json.loads) == [1]
    assert part("").read(str.split) == []
    assert part("[1]", 1).read(json.loads) is None
    assert part("{}").read(lambda text: json.loads(text)["jobs"]) is None
    assert part("3").read(lambda text: json.loads(text)["jobs"]) is None
    assert part('{"a":' * 100_000).read(json.loads) is None


def test_records_of_json_are_found_in_what_a_site_prints_around_it():
    text = 'Welcome!\n{"jobs": [{"id": 7}, null, 3], "n": {}}\nsessions {} are recorded'
    assert json_records(text, "jobs") == [{"id": 7}]
    for wrong in ("", "Welcome", '{"jobs": 7}', '{"others": []}', '{"jobs": [{"id"'):
        assert part(wrong).read(lambda text: json_records(text, "jobs")) is None, wrong


def test_what_is_absent_from_json_on_the_way_is_none():
    said = {"a": {"b": {"c": 0}}, "none": None}
    assert (json_at(said, "a", "b", "c"), json_at(said, "none", "b"), json_at(said, "x", "b", "c")) == (0, None, None)


def test_elements_that_are_told_as_one_have_an_id_each_and_one_job_keeps_its_own():
    assert array_ids("7") == ["7"]
    assert array_ids("7_4") == ["7_4"]
    assert array_ids("7_[0,8-9%1]") == ["7_0", "7_8", "7_9"]
    assert array_ids("7", "2-4:2") == ["7_2", "7_4"]
    assert len(array_ids("7_[0-4000000]")) == 100_000
