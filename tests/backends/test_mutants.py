"""Each clause of the contract, left out by a driver: the shipped suite has a test that fails for it.

What is not named here is not tested by the suite: every test of it fails for at least one of these drivers.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import signal
import time
from dataclasses import replace

import pytest

from tests.backends.accounted_driver import Accounted
from tests.backends.noded_driver import Noded
from tests.backends.readme_driver import driver, suite
from tests.backends.weighed_driver import Weighed
from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.cluster import QueueCluster
from vrecompute.batch.contract import Finding, JobStatus, State, SubmitError
from vrecompute.batch.known import Answer
from vrecompute.batch.queue_backend import LostAnswer
from vrecompute.errors import Unavailable

Right = driver.MyBackend


def scripts(name, change):
    """A driver whose scripts are changed: `change(text)`."""
    return type(name, (Right,), {"script": lambda self, job: change(Right.script(self, job))})


def jobs(name, change):
    """A driver that renders another job: `change(job)`."""
    return type(name, (Right,), {"script": lambda self, job: Right.script(self, change(job))})


def statuses(name, change):
    """A driver whose polls say something else: `change(id, status)`; None leaves the job out."""

    def poll(self, ids):
        changed = {i: change(i, status) for i, status in Right.poll(self, ids).items()}
        return {i: status for i, status in changed.items() if status is not None}

    return type(name, (Right,), {"poll": poll})


def without(pattern):
    """A change of scripts: no line that has the pattern."""
    return lambda text: "\n".join(line for line in text.splitlines() if not re.search(pattern, line)) + "\n"


def renamed(state, other):
    """A change of statuses: another word for a state."""
    return lambda job_id, status: replace(status, state=other) if status.state is state else status


def attempts(name, text):
    """A driver whose jobs find their attempt otherwise."""
    return type(name, (Right,), {"variables": Right.variables | {"attempt": text}})


class OneCopyOfSecrets(Right):
    def __init__(self, site, access=None):
        super().__init__(site, access)
        deliver = self._files.deliver
        self._files.deliver = lambda job, count: deliver(job, 1)


class FindsNothing(Right):
    def ages(self, name):
        return {}


class FindsTheEnded(Right):
    def named(self, name):
        return list(self.ages(name))


class ForgetsAges(Right):
    def ages(self, name):
        return dict.fromkeys(super().ages(name), 0.0)


class ManyQueries(Right):
    def ask_about(self, ids):
        answers = [super(ManyQueries, self).ask_about([job_id]) for job_id in ids]
        return Answer({i: seen for answer in answers for i, seen in answer.records.items()}, accounting=False)


class Impatient(Right):
    def poll(self, ids):
        self._asked = float("-inf")
        return super().poll(ids)


class Loud(Right):
    def ask_about(self, ids):
        try:
            return super().ask_about(ids)
        except Unavailable as error:
            raise RuntimeError("no answer") from error


class ForgetsOthers(Right):
    """Knows only jobs that it submitted itself."""

    mine: frozenset[str] = frozenset()

    def submit(self, job):
        job_id = super().submit(job)
        self.mine = self.mine | {job_id}
        return job_id

    def poll(self, ids):
        return {i: s if i in self.mine else JobStatus(State.UNKNOWN) for i, s in super().poll(ids).items()}


class SharedState(Right):
    """Not for several threads."""

    def poll(self, ids):
        self.wanted = list(ids)
        time.sleep(0.01)
        return super().poll(self.wanted)


class SaysCancelled(Right):
    """Cancels in its books alone."""

    gone: frozenset[str] = frozenset()

    def end(self, ids):
        self.gone = self.gone | set(ids)

    def poll(self, ids):
        cancelled = JobStatus(State.CANCELLED, reason="cancelled")
        return {i: cancelled if i in self.gone else status for i, status in super().poll(ids).items()}


class KeepsSecretsOfTheKilled(Right):
    def __init__(self, site, access=None):
        super().__init__(site, access)
        self._files.sweep = self._files.sweep_found = lambda ids: None


class KeepsSecretsOfOthers(Right):
    """Deletes those that it brought itself."""

    def __init__(self, site, access=None):
        super().__init__(site, access)
        cancelled, mine = self._files.cancelled, self._files._secrets
        self._files.cancelled = lambda ids: cancelled([i for i in ids if i in mine])


class FindsNoSecrets(Right):
    def __init__(self, site, access=None):
        super().__init__(site, access)
        self._files.seen = lambda secrets: None


class TakesFewerUnsaid(Right):
    def hand_in(self, job, script, count):
        try:
            return super().hand_in(job, script, count)
        except SubmitError as error:
            raise SubmitError(str(error)) from error


class NoCancel(Right):
    def end(self, ids):
        pass


class LateLogs(Right):
    def logs(self, job_id):
        return super().logs(job_id) if self.poll([job_id])[job_id].state.terminal else ""


class NoCanary(Right):
    def probe(self, *given):
        return [Finding("mysystem", True, self.greet()), Finding("python", True, "not looked at")]


class AgreesToAll(Right):
    def dry_run(self, job, script, count):
        return "would be taken"


class HidesTheRest(Right):
    def probe(self, *given):
        findings = super().probe(*given)
        last = next((n for n, f in enumerate(findings) if not f.ok), len(findings))
        return findings[: last + 1]


class Silent(Right):
    def probe(self, patience_s=60.0, tell=None):
        return super().probe(patience_s)


class Restless(Right):
    """Has no patience, whatever it is given."""

    def probe(self, patience_s=60.0, tell=None):
        return super().probe(0.0, tell)


class Speechless(Right):
    def probe(self, *given):
        return [*super().probe(*given), Finding("store", False, "cannot be written")]


class Leaks(Right):
    def hand_in(self, job, script, count):
        first, rest = script.split("\n", 1)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in os.environ.items() if name.isupper()]
        return super().hand_in(job, "\n".join([first, *exports, rest]), count)


class Unquoted(Right):
    def script(self, job):
        return super().script(job).replace(shlex.join(job.command), " ".join(job.command))


class TellsSecrets(Right):
    def script(self, job):
        return super().script(job) + "".join(f"# {content}\n" for content in job.secret_files.values())


class NoDescription(Right):
    def describe(self, workers):
        return ""


class Spender(Right):
    def check_cluster(self, workers):
        pass


class NoCopies(Right):
    """Its copies have one number."""

    variables = Right.variables | {"index": "0"}


class Mutes(QueueCluster):
    def deaths(self):
        return {}


class NoDeaths(Right):
    def open_cluster(self, workers):
        cluster = super().open_cluster(workers)
        cluster.__class__ = Mutes
        return cluster


class EndsOnlyFirst(Right):
    def end(self, ids):
        super().end(list(ids)[:1])


class KeepsWhatWasTaken(Right):
    array = False

    def submit_many(self, job, count):
        return [self.submit(replace(job, name=f"{job.name}-{index}")) for index in range(count)]


class SubmitsDryRuns(Right):
    def dry_run(self, job, script, count):
        return self.hand_in(job, script, count)


class AppendsSecrets(Right):
    def hand_in(self, job, script, count):
        return super().hand_in(job, script + "".join(f"# {text}\n" for text in job.secret_files.values()), count)


class ChangesEnds(Right):
    """An end becomes another: some time after it was told."""

    after_s, of, other = 0.0, frozenset({State.FAILED}), State.COMPLETED

    def poll(self, ids):
        now, said = time.monotonic(), super().poll(ids)
        self.told = {i: now for i in said if said[i].state.terminal} | vars(self).get("told", {})
        late = {i for i in said if i in self.told and self.told[i] < now - self.after_s and said[i].state in self.of}
        return {i: replace(status, state=self.other) if i in late else status for i, status in said.items()}


class BecomesNodeFail(ChangesEnds):
    after_s, of, other = 5.0, frozenset(State), State.NODE_FAIL


class CountsNoAttempts(Right):
    def ask_about(self, ids):
        answer = super().ask_about(ids)
        first = {i: replace(seen, status=replace(seen.status, attempt=0)) for i, seen in answer.records.items()}
        return replace(answer, records=first)


class CountsBackwards(Right):
    """A job that waits is of the attempt before the one that ran."""

    def ask_about(self, ids):
        answer = super().ask_about(ids)
        attempt = {State.RUNNING: 1, State.HELD: 0, State.QUEUED: 0}
        return replace(
            answer,
            records={
                i: replace(seen, status=replace(seen.status, attempt=attempt.get(seen.status.state, 1)))
                for i, seen in answer.records.items()
            },
        )


class FindsAll(Right):
    def ages(self, name):
        return {line[1].partition("_")[0]: float(line[5]) for line in self._lines("list")}


class OutageIsGone(Right):
    def ask_about(self, ids):
        answer = super().ask_about(ids)
        return replace(answer, gone=frozenset(ids) - set(answer.records), instead="")


class AsksForHalf(Right):
    def header(self, job, shape):
        return super().header(replace(job, walltime_s=max(1, job.walltime_s // 2)), shape)


class RoundsDown(Right):
    """As of a system that counts in minutes, and is asked for the whole ones alone."""

    walltime_s = 80

    def header(self, job, shape):
        return super().header(replace(job, walltime_s=max(1, job.walltime_s // 60) * 60), shape)


class RoundsDownAndSaysSo(RoundsDown):
    def granted_s(self, job):
        return max(1, job.walltime_s // 60) * 60


class GrantsTheNearest(Right):
    def granted_s(self, job):
        return max(60, round(job.walltime_s / 60) * 60)


class AsksForMinutes(Right):
    """As of a system that counts in minutes, of which it lacks the one that was begun."""

    def header(self, job, shape):
        asked = super().header(job, shape)
        return [f"#QQ minutes={job.walltime_s // 60}" if " seconds=" in line else line for line in asked]


class CountsFromTheSubmission(Right):
    def ask_about(self, ids):
        answer, ages = super().ask_about(ids), {line[1]: float(line[5]) for line in self._lines("list", ",".join(ids))}
        told = {i: replace(seen, status=replace(seen.status, elapsed_s=ages[i])) for i, seen in answer.records.items()}
        return replace(answer, records=told)


class EndsKnownOnesAlone(Right):
    def end(self, ids):
        known = {line[1] for line in self._lines("list")} | {line[1].partition("_")[0] for line in self._lines("list")}
        super().end(ids)
        if unknown := set(ids) - known:
            raise Unavailable(f"qq: there is no job {unknown}")


class PromisesMore(Right):
    def granted_s(self, job):
        return job.walltime_s + 55


def asks_without(*names):
    """A driver whose directives lack some."""

    def header(self, job, shape):
        return without(f"^#QQ ({'|'.join(names)})=")("\n".join(Right.header(self, job, shape))).splitlines()

    return type(f"AsksNo{''.join(names).title()}", (Right,), {"header": header})


class AsksForOneNode(Right):
    def header(self, job, shape):
        return super().header(job, replace(shape, nodes=1))


class AsksNamesRaw(Right):
    def header(self, job, shape):
        return [f"#QQ name={job.name}", *(line for line in super().header(job, shape) if " name=" not in line)]


class EndsWholeArrays(Right):
    def end(self, ids):
        super().end([job_id.partition("_")[0] for job_id in ids])


class EndsLongerIds(Right):
    """As a command does that takes patterns."""

    def end(self, ids):
        super().end([line[1] for line in self._lines("list") if line[1].startswith(tuple(ids))])


class HearsNoFailure(Right):
    """Takes what commands print, and does not look how they ended."""

    def _lines(self, *words):
        done = self.access.run(["qq", *words])
        return [found for line in done.text.splitlines() if (found := driver.LINE.fullmatch(line))]


class CancelsUnheard(Right):
    def end(self, ids):
        self.access.run(["qq", "cancel", *ids])


class SilentRecordIsGone(Accounted):
    def gone(self, missing, *, queue, record):
        return missing if queue else frozenset()


class SilentQueueIsGone(Accounted):
    def gone(self, missing, *, queue, record):
        return missing if record else frozenset()


class AsksForLessMemory(Right):
    """7 % less."""

    def header(self, job, shape):
        return super().header(job, replace(shape, memory_bytes=int(0.93 * shape.memory_bytes)))


class GreetsAlways(Right):
    def greet(self):
        return self.access.run(["qq", "--version"]).text.strip() or "QQ"


def answers(name, **changes):
    """A driver whose answers say something else."""
    return type(name, (Right,), {"ask_about": lambda self, ids: replace(Right.ask_about(self, ids), **changes)})


class TellsNoCodes(Right):
    def ask_about(self, ids):
        answer = super().ask_about(ids)
        bare = {i: replace(s, status=replace(s.status, exit_code=None)) for i, s in answer.records.items()}
        return replace(answer, records=bare)


class AlwaysRerunnable(Right):
    def header(self, job, shape):
        return super().header(replace(job, requeue=True), shape)


def asking(name, asks):
    """A driver that asks in another way: `asks(self, ids)` is what `ask_site` gives."""

    def ask_about(self, ids):
        marks, lines, _ = asks(self, ids)
        records = {found[1]: driver.seen(found) for line in lines if (found := driver.LINE.fullmatch(line))}
        return Answer(records, gone=frozenset(ids) - set(records), accounting=False, marks=marks)

    return type(name, (Right,), {"ask_about": ask_about})


AsksWithItsIds = asking("AsksWithItsIds", lambda self, ids: self.ask_site('ask qq list "$3"', ids, ",".join(ids)))
AsksWithIdsInTheScript = asking(
    "AsksWithIdsInTheScript", lambda self, ids: self.ask_site(f"ask qq list {','.join(ids)}", ids)
)
AsksAboutTheFirst = asking(
    "AsksAboutTheFirst", lambda self, ids: self.ask_site('ask qq list "$(echo "$2" | cut -d, -f1)"', ids)
)


#: Test of the suite -> drivers that fail it.
MUTANTS = {
    "test_files_that_jobs_carry_are_with_each_copy_and_what_it_adds_comes_back": [
        scripts("CarriesElsewhere", lambda text: text.replace('CARRIED="$PWD', 'CARRIED="$PWD/elsewhere')),
    ],
    "test_script_is_pure_and_holds_no_secret": [
        TellsSecrets,
    ],
    "test_an_unseen_id_is_unknown": [
        statuses("LeavesOut", lambda i, s: s if s.state is not State.UNKNOWN else None),
        statuses("Finishes", renamed(State.UNKNOWN, State.COMPLETED)),
    ],
    "test_a_job_completes_and_stays_completed": [
        ForgetsOthers,
    ],
    "test_a_failing_command_is_failed_with_its_code": [
        scripts("AlwaysWell", lambda text: text.replace('if [ "$code" -lt', 'code=0; if [ "$code" -lt')),
        statuses("NoReason", lambda i, s: replace(s, reason="")),
    ],
    "test_a_job_that_is_killed_is_failed": [
        TellsNoCodes,
        scripts("KillsWell", lambda text: text.replace('exit "$code"', "exit 0")),
        statuses("SignalIsWell", lambda i, s: replace(s, state=State.COMPLETED) if s.exit_code == -9 else s),
        statuses("KilledIsWell", lambda i, s: replace(s, state=State.COMPLETED) if s.exit_code == 137 else s),
    ],
    "test_a_job_that_uses_too_much_memory_is_oom": [
        statuses("MemoryIsCode", renamed(State.OOM, State.FAILED)),
        type("AsksForTooMuch", (asks_without("memory"),), {}),
    ],
    "test_memory_is_told_in_bytes": [
        type("TellsLimitsInKb", (Weighed,), {"limit_unit": 1}),
        type("TellsPeaksInKb", (Weighed,), {"peak_unit": 1}),
        type("TakesBytesForKb", (Weighed,), {"peak_unit": 1024**2}),
    ],
    "test_a_job_that_must_not_start_again_says_so_to_the_system": [
        type("AllowsReruns", (AlwaysRerunnable,), {}),
    ],
    "test_clients_of_a_user_share_one_answer": [
        AsksWithItsIds,
        AsksWithIdsInTheScript,
        AsksAboutTheFirst,
    ],
    "test_arguments_and_environment_arrive_and_are_not_executed": [
        Unquoted,
    ],
    "test_secret_files_are_private_and_gone_afterwards": [
        type("KeepsSecrets", (KeepsSecretsOfTheKilled, scripts("", without("^trap"))), {}),
        scripts("OpensSecrets", lambda text: text.replace("\ntrap", '\nchmod 755 "$VRECOMPUTE_SECRETS"\ntrap')),
    ],
    "test_a_job_is_found_by_its_name": [
        FindsNothing,
        FindsTheEnded,
        FindsAll,
    ],
    "test_a_cancelled_job_is_cancelled": [
        NoCancel,
        EndsOnlyFirst,
        EndsKnownOnesAlone,
        statuses("Fails", renamed(State.CANCELLED, State.FAILED)),
        statuses("CancelsUnsaid", lambda i, s: replace(s, reason="") if s.state is State.CANCELLED else s),
    ],
    "test_a_cancel_of_one_job_leaves_its_neighbours": [
        EndsWholeArrays,
        EndsLongerIds,
    ],
    "test_the_system_is_asked_for_what_the_job_asks_for": [
        asks_without("cores"),
        asks_without("memory"),
        asks_without("seconds"),
    ],
    "test_no_less_memory_is_asked_for_than_the_job_needs": [
        AsksForLessMemory,
    ],
    "test_no_less_walltime_is_asked_for_than_the_job_needs": [
        type("RoundsDownQuietly", (RoundsDown,), {}),
        RoundsDownAndSaysSo,
        GrantsTheNearest,
        AsksForMinutes,
    ],
    "test_an_answer_has_the_marks_of_commands_that_ended": [
        answers("GivesNoMarks", marks={}),
    ],
    "test_what_no_source_knows_is_gone": [
        answers("NothingIsGone", gone=frozenset()),
    ],
    "test_an_answer_says_whether_there_is_accounting": [
        answers("ClaimsAccounting", accounting=True),
    ],
    "test_the_command_that_people_are_told_ends_a_job": [
        type("NamesNoCommand", (Right,), {"ending": "cancel"}),
        type("NamesAnother", (Right,), {"ending": "qq list"}),
    ],
    "test_a_job_whose_node_went_is_charged_to_no_code": [
        statuses("NodeIsWell", renamed(State.NODE_FAIL, State.COMPLETED)),
        statuses("NodeIsCode", renamed(State.NODE_FAIL, State.FAILED)),
        AlwaysRerunnable,
    ],
    "test_a_system_that_is_not_there_does_not_greet": [
        GreetsAlways,
    ],
    "test_a_running_job_s_time_goes_on_in_seconds": [
        statuses("TellsMinutes", lambda i, s: replace(s, elapsed_s=(s.elapsed_s or 0) / 60)),
    ],
    "test_a_job_of_several_nodes_is_one_or_is_denied": [
        AsksForOneNode,
        type("NoStep", (Right,), {"step": lambda self, nodes, cores: []}),
    ],
    "test_a_name_is_a_word_of_the_directives_whatever_is_in_it": [
        AsksNamesRaw,
    ],
    "test_a_list_that_failed_is_not_an_empty_one": [
        HearsNoFailure,
    ],
    "test_a_cancel_that_failed_is_not_one_that_was_done": [
        CancelsUnheard,
    ],
    "test_a_question_of_several_that_failed_makes_no_job_gone": [
        SilentRecordIsGone,
        SilentQueueIsGone,
    ],
    "test_many_jobs_are_told_apart": [
        type("TakesNoArrays", (Right,), {"is_id": lambda self, text: re.fullmatch("[0-9]+_[0-9]+", text) is not None}),
        OneCopyOfSecrets,
        NoCopies,
        scripts("NoId", without("VRECOMPUTE_JOB=")),
    ],
    "test_an_end_stays_what_it_is": [
        ChangesEnds,
        BecomesNodeFail,
    ],
    "test_what_would_be_said_to_a_submission_is_said_without_one": [
        SubmitsDryRuns,
    ],
    "test_what_is_handed_in_holds_no_secret": [
        AppendsSecrets,
    ],
    "test_no_job_of_the_suite_is_left": [
        type("LeavesJobs", (NoCancel,), {}),
    ],
    "test_walltime_is_a_state_of_its_own": [
        AsksForHalf,
        PromisesMore,
        RoundsDown,
        statuses("NoWalltime", renamed(State.TIMEOUT, State.FAILED)),
    ],
    "test_each_copy_keeps_its_secrets_until_it_ends": [
        scripts("SharesSecrets", lambda text: text.replace("-$VRECOMPUTE_INDEX", "-0")),
    ],
    "test_a_running_job_shows_its_log_and_for_how_long_it_runs": [
        LateLogs,
        statuses("CountsInMinutes", lambda i, s: replace(s, elapsed_s=(s.elapsed_s or 0) + 60)),
    ],
    "test_a_cancel_ends_the_process_itself": [
        SaysCancelled,
    ],
    "test_a_job_knows_when_it_began_and_when_it_ends": [
        scripts("NoTimes", without("VRECOMPUTE_JOB_BEGAN")),
        scripts("EndsNow", lambda text: text.replace("began + 240", "began")),
    ],
    "test_a_command_out_of_time_goes_on_in_another_attempt": [
        type("NoRerun", (Right,), {"requeue": "true"}),
        CountsNoAttempts,
        CountsFromTheSubmission,
        scripts(
            "SpendsSecrets",
            lambda text: text.replace('if [ "$code" = 75', 'rm -r "$VRECOMPUTE_SECRETS"; if [ "$code" = 75'),
        ),
    ],
    "test_a_job_knows_its_attempt_as_a_number": [
        attempts("CountsFromMinusOne", "$((QQ_ATTEMPT - 1))"),
        attempts("TellsNoAttempt", "$QQ_NO_SUCH_VARIABLE"),
        attempts("AsksACommandOfItsOwn", "$(of-the-users-own-path || echo unknown)"),
        attempts("CountsFromOne", "$((QQ_ATTEMPT + 1))"),
    ],
    "test_no_attempt_more_than_is_paid_for": [
        scripts("NoLimit", lambda text: text.replace("${VRECOMPUTE_JOB_ATTEMPTS:-", "${NO_LIMIT:-")),
        jobs("AlwaysAgain", lambda job: replace(job, requeue=True)),
    ],
    "test_polls_at_the_same_time_answer_what_each_asked": [
        SharedState,
    ],
    "test_the_site_s_variables_reach_the_job_and_its_own_win": [
        scripts("NoVariables", without("^export VRE_SITE")),
        scripts("SiteWins", without("^export VRE_BOTH=job")),
    ],
    "test_a_probe_finds_facts_and_says_what_to_write_about_bad_ones": [
        NoCanary,
        Speechless,
        type("GreetsNobody", (Right,), {"greet": lambda self: ""}),
    ],
    "test_a_probe_tells_all_that_keeps_a_run_from_starting": [
        AgreesToAll,
        HidesTheRest,
    ],
    "test_a_probe_of_a_site_that_is_right_leaves_nothing_in_the_spool": [
        type("ForgetsNothing", (Right,), {"forget": lambda self, ids: None}),
    ],
    "test_a_probe_ends_at_once_where_waiting_is_of_no_use": [
        statuses("NeverSaysNever", lambda i, s: replace(s, never=False)),
    ],
    "test_a_probe_says_what_it_waits_for_and_no_longer_than_it_may": [
        Silent,
        Restless,
    ],
    "test_nothing_of_the_submitter_s_environment_is_in_the_job": [
        Leaks,
    ],
    "test_the_site_s_venv_is_active_and_what_is_missing_ends_the_job": [
        scripts("AnyPython", without(r"environment\.venv: ")),
        scripts("NoVenv", without(r"VIRTUAL_ENV|environment\.venv: ")),
        scripts("NoModules", without("^module")),
    ],
    "test_a_setup_that_goes_elsewhere_moves_no_job": [
        scripts("GoesElsewhere", without("^cd -- ")),
    ],
    "test_a_held_job_is_held_with_its_reason_and_can_be_cancelled": [
        statuses("NoHolds", renamed(State.HELD, State.QUEUED)),
        statuses("NoCodes", lambda i, s: replace(s, reason_code="")),
        CountsBackwards,
        statuses("Hopeless", lambda i, s: replace(s, never=s.state is State.HELD)),
    ],
    "test_a_job_that_can_never_start_says_so": [
        statuses("Hopes", lambda i, s: replace(s, never=False)),
        statuses("NeverSaysWhy", lambda i, s: replace(s, reason="")),
    ],
    "test_a_refusal_of_too_many_jobs_says_that_fewer_may_be_taken": [
        TakesFewerUnsaid,
        KeepsWhatWasTaken,
    ],
    "test_nothing_is_left_of_jobs_that_are_cancelled_or_killed": [
        scripts("KeepsFilesOfTheKilled", lambda text: text.replace("flock -n", "true")),
        scripts("SharesTheTemporaryFolder", without("^export TMPDIR")),
        KeepsSecretsOfTheKilled,
    ],
    "test_nothing_is_left_of_jobs_that_another_process_cancels": [
        KeepsSecretsOfOthers,
    ],
    "test_nothing_is_left_of_a_job_that_ended_behind_the_back_of_its_client": [
        FindsNoSecrets,
    ],
    "test_nothing_is_left_of_a_waiting_job_that_another_process_cancels": [
        type("KeepsSecretsOfTheWaiting", (KeepsSecretsOfOthers,), {}),
    ],
    "test_a_process_that_is_told_to_end_takes_its_waiting_jobs_along": [
        type("CancelsNothing", (NoCancel,), {}),
    ],
    "test_a_submission_whose_answer_is_lost_is_one_job": [
        FindsNothing,
        type("FindsOthers", (FindsAll,), {}),
    ],
    "test_a_submission_that_nobody_took_is_no_job": [
        ForgetsAges,
    ],
    "test_a_poll_of_many_jobs_is_one_command_and_not_more_often_than_the_site_allows": [
        ManyQueries,
        Impatient,
    ],
    "test_a_job_is_kept_off_the_nodes_that_it_excludes": [
        type("NamesNoNode", (Right,), {"exclude": lambda self, nodes: ["#QQ exclude=" + ",".join(nodes)]}),
        type("GoesThere", (Noded,), {"exclude": lambda self, nodes: ["#QQ avoid=" + ",".join(nodes)]}),
    ],
    "test_silence_changes_nothing_and_raises_nothing": [
        Loud,
        OutageIsGone,
    ],
    "test_what_explain_prints_is_what_would_run": [
        NoDescription,
    ],
    "test_the_core_hours_of_the_site_bound_a_cluster": [
        Spender,
    ],
    "test_a_command_of_a_job_with_an_image_runs_in_it": [
        jobs("Outside", lambda job: replace(job, image=None)),
    ],
    "test_what_the_driver_cannot_give_is_refused": [
        jobs("Agrees", lambda job: replace(job, image=None, gpus=0)),
        type("Claims", (Right,), {"capabilities": Capabilities(gpus=True)}),
    ],
    "test_a_job_with_workers_finds_them_as_any_dask_program_does": [
        jobs("NoWorkers", lambda job: replace(job, workers=0)),
    ],
    "test_a_cluster_computes_scales_and_closes": [
        scripts("NoSettings", without("^export DASK_DISTRIBUTED__WORKER")),
    ],
    "test_a_cluster_tells_how_the_jobs_of_lost_workers_ended": [
        NoDeaths,
    ],
}
CASES = [(mutant, name) for name, mutants in MUTANTS.items() for mutant in mutants]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("mutant", "name"), CASES, ids=[mutant.__name__ for mutant, _ in CASES])
def test_a_driver_that_leaves_a_clause_out_fails_its_test(mutant, name, qq_site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a job is that does not go to its own folder
    suited = suite.TestMyDriver()
    suited.patience_s, suited.walltime_s = 8, getattr(mutant, "walltime_s", 20)

    def make_backend(**changes):
        return mutant(replace(qq_site, **changes))

    given = {"make_backend": make_backend, "backend": make_backend(), "monkeypatch": monkeypatch}
    given |= {"lost": LostAnswer("no answer"), "number": signal.SIGHUP}
    test = getattr(suited, name)
    with pytest.raises((Exception, pytest.fail.Exception)):
        test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


def test_every_test_of_the_suite_fails_for_some_driver():
    tests = {name for name in dir(suite.TestMyDriver) if name.startswith("test_")}
    assert set(MUTANTS) == tests
