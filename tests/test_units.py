"""Memory and durations: exact both ways, and the same bytes whatever system spells them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute import Client, units
from vrecompute.errors import UsageError
from vrecompute.execution.manifest import Settings

GIB = 2**30
amounts = st.integers(1, 2**55)
seconds = st.integers(1, 400 * 86400)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("9Gi", 9 * GIB),
        ("9GiB", 9 * GIB),
        ("9G", 9 * GIB),
        ("9GB", 9 * 10**9),
        ("9 GiB", 9 * GIB),
        ("2000M", 2000 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("0.1KiB", 103),  # 102.4, rounded up
        ("4096B", 4096),
        ("40kB", 40_000),
        ("40KB", 40_000),
        ("2TiB", 2 * 2**40),
        ("1P", 2**50),
    ],
)
def test_memory_of_a_site_file(text, n_bytes):
    assert units.parse_memory(text) == n_bytes
    assert re.search(units.MEMORY_PATTERN, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (80, "did you mean '80GiB'"),
        ("80", "did you mean '80GiB'"),
        ("40000", "did you mean '40000MiB' or '40000B'?"),
        (40_000_000, "did you mean '40000000B' or '40000000kB'?"),
        ("1.5", "did you mean '1.5GiB'"),
        ("80gib", "did you mean '80GiB'"),
        ("80Gib", "did you mean '80GiB'"),
        ("80 gigabytes", "such as 80GiB"),
        ("0GiB", "leave it out"),
        ("2000000000000000TB", "more than any machine has"),
        ("-4GiB", "such as 80GiB"),
        ("4GiB\n", "such as 80GiB"),
        ("1" * 500 + "G", "such as 80GiB"),
        (True, "such as 80GiB"),
        (None, "such as 80GiB"),
        (["4GiB"], "such as 80GiB"),
    ],
)
def test_wrong_memory_says_what_to_write(text, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        units.parse_memory(text)


@pytest.mark.parametrize("given", ["40000", 40000, 4e4, "40kB", "40 kB", "40000B", "40KB"])
def test_a_number_alone_is_one_of_bytes_where_bytes_are_meant(given):
    assert units.parse_bytes(given) == units.bytes_option("chunk_bytes", given) == 40_000
    assert Settings.of(None, None, None, None, given, None, None).chunk_bytes == 40_000
    shape = Client(memory_bytes=given).site.workers
    assert shape.memory == 40_000 * shape.processes


@pytest.mark.parametrize("given", [0, -5, "0", "-5", 1.5, "1.5", "40kilobytes", "", "٣", math.nan, math.inf, True])
def test_what_is_no_size_is_refused_by_the_name_of_the_option(given):
    with pytest.raises(UsageError, match="chunk_bytes="):
        Settings.of(None, None, None, None, given, None, None)
    with pytest.raises(UsageError, match="memory_bytes="):
        Client(memory_bytes=given)


@pytest.mark.parametrize(
    ("text", "n_seconds"),
    [
        ("12h", 43200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("04:00:00", 14400),
        ("4:00:00", 14400),
        ("10:00:00", 36000),
        ("100:00:00", 360000),
        ("1-12:00:00", 129600),
        ("2d", 172800),
        ("45s", 45),
    ],
)
def test_durations_of_a_site_file(text, n_seconds):
    assert units.parse_duration(text) == n_seconds
    assert re.search(units.DURATION_PATTERN, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (3, "did you mean '3h'"),
        ("90", "did you mean '90h', '90m'"),
        ("12:30", "did you mean '12:30:00'"),
        ("12 hours", "did you mean '12h'"),
        ("10min", "did you mean '10m'"),
        ("3H", "did you mean '3h'"),
        ("1:60:00", "write 12h"),
        ("1-24:00:00", "write 12h"),
        ("0h", "leave it out"),
        ("40000d", "more than a hundred years"),
        ("0.3s", "not a whole number of seconds"),
        ("", "write 12h"),
        (False, "write 12h"),
        ({}, "write 12h"),
    ],
)
def test_wrong_durations_say_what_to_write(text, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        units.parse_duration(text)


@given(amounts)
def test_memory_written_is_memory_read(n_bytes):
    text = units.format_memory(n_bytes)
    assert units.parse_memory(text) == n_bytes
    assert re.search(units.MEMORY_PATTERN, text)


@given(seconds)
def test_durations_written_are_durations_read(n_seconds):
    text = units.format_duration(n_seconds)
    assert units.parse_duration(text) == n_seconds
    assert re.search(units.DURATION_PATTERN, text)
    assert units.from_slurm_time(units.to_slurm_time(n_seconds)) == n_seconds
    # what Slurm prints, a site file may say
    assert units.parse_duration(units.to_slurm_time(n_seconds)) == n_seconds


@given(st.integers(1, 10**6))
def test_whole_gibibytes_are_the_same_everywhere(n_gib):
    n_bytes = units.parse_memory(f"{n_gib}Gi")
    assert n_bytes == n_gib * GIB
    assert units.to_slurm_mb(n_bytes) == units.to_htcondor_mb(n_bytes) == n_gib * 1024
    assert units.to_htcondor_kb(n_bytes) == n_gib * 1024 * 1024
    assert units.from_slurm(f"{n_gib * 1024}M") == units.from_slurm(f"{n_gib}G") == n_bytes
    assert units.from_htcondor(f"{n_gib} GB", "M") == units.from_htcondor(str(n_gib * 2**20), "K") == n_bytes
    assert units.from_kubernetes(f"{n_gib}Gi") == units.from_kubernetes(units.to_kubernetes(n_bytes)) == n_bytes


def test_nine_gibibytes_are_9216_mebibytes():
    assert units.to_slurm_mb(units.from_kubernetes("9Gi")) == 9216


@given(amounts)
def test_a_job_never_gets_less_than_was_asked_and_at_most_one_unit_more(n_bytes):
    assert 0 <= units.from_slurm(f"{units.to_slurm_mb(n_bytes)}M") - n_bytes < 2**20
    assert 0 <= units.from_htcondor(str(units.to_htcondor_mb(n_bytes)), "M") - n_bytes < 2**20
    assert 0 <= units.from_htcondor(str(units.to_htcondor_kb(n_bytes)), "K") - n_bytes < 2**10
    assert units.from_kubernetes(units.to_kubernetes(n_bytes)) == n_bytes


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("9G", 9 * 10**9),
        ("1e9", 10**9),
        ("12E6", 12_000_000),
        ("128974848", 128974848),
        ("1500m", 2),
        ("2k", 2000),
        ("1E", 10**18),
        ("0.5Gi", 2**29),
        ("100n", 1),
        ("3u", 1),
        ("1Ei", 2**60),
    ],
)
def test_kubernetes_quantities(text, n_bytes):
    assert units.from_kubernetes(text) == n_bytes


@pytest.mark.parametrize("text", ["9GB", "9 Gi", "", "Gi", "1e999", "9K"])
def test_what_kubernetes_would_refuse(text):
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        units.from_kubernetes(text)


@pytest.mark.parametrize(
    ("text", "n_seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("4:00:00", 14400),
        ("1-2", 93600),
        ("1-02:30", 95400),
        ("1-00:00:01", 86401),
        ("UNLIMITED", None),
    ],
)
def test_times_as_slurm_spells_them(text, n_seconds):
    assert units.from_slurm_time(text) == n_seconds


@pytest.mark.parametrize("text", ["", "1-", "x", "1:2:3:4", "Partition_Limit"])
def test_what_is_no_time_of_slurm(text):
    with pytest.raises(ValueError, match="not a time limit of Slurm"):
        units.from_slurm_time(text)


def test_memory_as_batch_systems_print_it():
    assert units.from_slurm("1.50G") == 3 * 2**29
    assert units.from_slurm("2048") == 2 * GIB
    assert units.from_htcondor("2048", "M") == units.from_htcondor("2048 MB", "M") == 2 * GIB
    for wrong in ("", "4Gn?", "G", "4X"):
        with pytest.raises(ValueError, match="not an amount of memory of Slurm"):
            units.from_slurm(wrong)
    with pytest.raises(ValueError, match="of HTCondor"):
        units.from_htcondor("100 B", "M")
