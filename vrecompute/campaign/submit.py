"""Plans what is missing and hands it over: within window, budget and pauses, the increment alone."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vrecompute.batch.contract import SubmitError
from vrecompute.campaign.attempts import Attempt, core_s_per_byte, last_done, open_attempts, plan, spent
from vrecompute.campaign.budget import Allowance, allowance, estimate, month_start, that_fit
from vrecompute.campaign.inputs import difference
from vrecompute.campaign.ledger import LeaseLost, Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.policy import after_failure
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tally import Tally
from vrecompute.campaign.wanted import Wanted, run_name
from vrecompute.campaign.window import is_open, next_change
from vrecompute.digest import sha256_of
from vrecompute.errors import RunError, Unavailable, UnknownRun, UsageError, VrecomputeError
from vrecompute.execution.manifest import Manifest

__all__ = ["Submitter", "effective_inputs"]


def effective_inputs(ledger: Ledger, wanted: Wanted, now: float) -> tuple[dict[str, str], float]:
    """What a unit is to be made of now (address -> stamp): all that is there but what is in quarantine.

    And until when it waits, since a file of it failed a moment ago; 0 where it need not.
    """
    stamps = wanted.found.stamps
    out, waits = set(), 0.0
    for row in ledger.rows("SELECT * FROM troubles WHERE unit = ? AND next_try > ?", (wanted.unit.name, now)):
        if stamps.get(row["address"]) != row["stamp"]:
            continue  # another file by now
        if row["quarantined"]:
            out.add(row["address"])
        else:
            waits = max(waits, row["next_try"])
    return {address: stamp for address, stamp in stamps.items() if address not in out}, waits


class Submitter:
    """Looks at each unit once a call."""

    def __init__(self, file: CampaignFile, ledger: Ledger, sites: Sites, tally: Tally) -> None:
        self._file = file
        self._ledger = ledger
        self._sites = sites
        self._tally = tally

    def submit(self, wanted: Mapping[str, Wanted]) -> None:
        """Submit what is missing of all units, as far as window and budget go."""
        under_way = {attempt.unit: attempt for attempt in open_attempts(self._ledger)}
        for unit, each in wanted.items():
            attempt = under_way.get(unit)
            try:
                if attempt is None:
                    attempt = self._planned(each)
                elif attempt.state == "planned" and attempt.identity != each.identity:
                    self._drop(attempt, "what is wanted changed before it began")
                    attempt = self._planned(each)
                if attempt is not None and attempt.state == "planned":
                    self._hand_over(attempt, each)
            except LeaseLost:
                raise
            except VrecomputeError as error:
                self._tally.error(error, unit)

    def _planned(self, wanted: Wanted) -> Attempt | None:
        """The next attempt of a unit; None where nothing is missing, or it has to wait."""
        now, unit = time.time(), wanted.unit.name
        inputs, waits = effective_inputs(self._ledger, wanted, now)
        state = self._ledger.row("SELECT * FROM units WHERE unit = ?", (unit,))
        want = wanted.of(inputs)
        if state is None or (not inputs and wanted.directory is None):
            return None
        if state["wanted"] != want:
            with self._ledger.writing():
                self._ledger.do("UPDATE units SET wanted = ? WHERE unit = ?", (want, unit))
        if state["published"] == want:
            return None
        latest = self._ledger.row("SELECT identity FROM attempts WHERE unit = ? ORDER BY number DESC", (unit,))
        is_changed = latest is not None and latest["identity"] != wanted.identity
        if max(waits, state["next_try"]) > now and not is_changed:
            return None
        if is_changed and state["failures"]:
            with self._ledger.writing():  # what failed is not what is tried now
                self._ledger.do("UPDATE units SET failures = 0, quarantined = 0, reason = '' WHERE unit = ?", (unit,))
        moment = datetime.now(UTC)
        window = self._file.campaign.window
        if not is_open(window, moment):
            opens = next_change(window, moment)
            self._tally.waiting = f"the window is closed until {opens:%Y-%m-%d %H:%M} UTC" if opens else ""
            return None
        return self._within_budget(wanted, inputs, moment)

    def _within_budget(self, wanted: Wanted, inputs: Mapping[str, str], moment: datetime) -> Attempt | None:
        unit, sizes = wanted.unit.name, wanted.found.sizes
        done = last_done(self._ledger, unit, wanted.identity)
        new = {a: sizes[a] for a in sorted(inputs) if done.get(a) != inputs[a]}
        left, rate = self._left(moment), core_s_per_byte(self._ledger, unit)
        taken = that_fit(new, left, rate) if new else []
        if (new and not taken) or (wanted.directory is not None and left.is_used_up):
            self._tally.trouble(f"{left.of} is used up: {len(new)} files of {unit} wait", 7)
            return None
        chosen = {a: s for a, s in inputs.items() if a not in new or a in set(taken)}
        want = wanted.of(chosen)
        cost = estimate(sum(new[a] for a in taken), rate)
        before = self._ledger.row(
            "SELECT identity_parts, listing FROM attempts WHERE unit = ? AND state <> 'void' ORDER BY number DESC",
            (unit,),
        )
        tried = self._ledger.rows("SELECT 1 FROM attempts WHERE unit = ? AND want = ?", (unit, want))
        row = {
            "unit": unit,
            "run": run_name(self._file.campaign.name, unit, want, len(tried) + 1),
            "site": self._file.campaign.sites[self._preferred()],
            "want": want,
            "identity": wanted.identity,
            "covers": int(len(taken) == len(new)),
            "size": cost.bytes,
            "core_s": cost.core_s,
            "code": wanted.code,
        }
        why = self._why(wanted, chosen, None if before is None else dict(before))
        return plan(self._ledger, row, wanted.parts, chosen, why)

    def _why(self, wanted: Wanted, inputs: Mapping[str, str], before: dict[str, Any] | None) -> str:
        """What is another than at the attempt before."""
        if before is None:
            return "the first attempt"
        changes = wanted.changes(json.loads(before["identity_parts"]))
        moved = difference(self._ledger.listing(before["listing"]), inputs)
        words = [
            f"{len(each)} {word}" for word, each in zip(("new", "changed", "vanished"), moved, strict=True) if each
        ]
        told = [f"changed: {changes}"] if changes else []
        return "; ".join([*told, *([f"inputs: {', '.join(words)}"] if words else [])]) or "the attempt before failed"

    def _left(self, moment: datetime) -> Allowance:
        budget = self._file.campaign.budget
        month = month_start(moment, budget.timezone).timestamp()
        return allowance(budget, spent(self._ledger, tick=self._ledger.tick), spent(self._ledger, since=month))

    def _preferred(self) -> int:
        """The first site, unless the latest attempt found that it does not answer."""
        latest = self._ledger.fact("site away")
        names = self._file.campaign.sites
        if latest is None:
            return 0
        name, _, until = latest.rpartition("@")
        return (names.index(name) + 1) % len(names) if name in names and time.time() < float(until) else 0

    def _hand_over(self, attempt: Attempt, wanted: Wanted) -> None:
        campaign = self._file.campaign
        client = self._sites.called(attempt.site)
        self._ledger.check()
        inputs = self._ledger.listing(attempt.listing)
        number = attempt.run.rpartition("-")[2]
        labels = {"campaign": campaign.name, "unit": attempt.unit, "attempt": number, "want": attempt.want}

        def written(manifest: Manifest) -> None:
            with self._ledger.writing():
                attempt.written(self._ledger, sha256_of(manifest.encoded()))

        try:
            try:
                run = client.submit(
                    self._file.analysis(wanted.unit.analysis.name),
                    wanted.only(inputs),
                    params=wanted.unit.analysis.parameters,
                    on_bad="skip",
                    max_bad=1.0,
                    walltime_s=campaign.walltime,
                    shares=campaign.shares,
                    labels=labels,
                    name=attempt.run,
                    written=written,
                )
                job = run.where().job
            except RunError:  # of an earlier tick, or one that was at work at the same time
                run = client.attach(attempt.run, exact=True, manifest_sha256=attempt.manifest_sha256)
                job = ", ".join(run.hand_over(campaign.workers, campaign.walltime)[:3])
        except (Unavailable, SubmitError) as error:
            if isinstance(error, SubmitError) and not error.transient:
                self._refused(attempt, error)
                return
            self._away(attempt, error)
            return
        except UsageError as error:
            self._refused(attempt, error)
            return
        with self._ledger.writing():
            attempt.submitted(self._ledger, attempt.site, job)
        self._tally.done["submitted"] += 1

    def _away(self, attempt: Attempt, error: VrecomputeError) -> None:
        """The site does not answer. With another site, that is for the next attempt: this one can never begin then."""
        self._tally.trouble(f"{attempt.unit}: site {attempt.site!r} does not answer: {error}", 5)
        names = self._file.campaign.sites
        if len(names) < 2:
            return  # its next tick asks again
        self._drop(attempt, f"site {attempt.site!r} does not answer")
        with self._ledger.writing():
            self._ledger.keep_fact("site away", f"{attempt.site}@{time.time() + self._file.campaign.retry.wait}")

    def _drop(self, attempt: Attempt, why: str) -> None:
        """Have it never begin: a job that the site took all the same finds that it is cancelled."""
        client = self._sites.called(attempt.site)
        with contextlib.suppress(UnknownRun, Unavailable):  # no run, so no job; or what there is ends by itself
            client.attach(attempt.run, exact=True).cancel()
        with self._ledger.writing():
            attempt.void(self._ledger, why)

    def _refused(self, attempt: Attempt, error: VrecomputeError) -> None:
        row = self._ledger.row("SELECT failures FROM units WHERE unit = ?", (attempt.unit,))
        failures = 1 if row is None else row["failures"] + 1
        campaign = self._file.campaign
        verdict = after_failure(failures, time.time(), campaign.retry, campaign.quarantine)
        with self._ledger.writing():
            attempt.void(self._ledger, str(error))
            self._ledger.do(
                "UPDATE units SET failures = ?, next_try = ?, quarantined = ?, reason = ? WHERE unit = ?",
                (failures, verdict.next_try, int(verdict.quarantined), str(error), attempt.unit),
            )
            self._ledger.note("refused", attempt.unit, attempt.run, reason=str(error))
        self._tally.error(error, attempt.unit)
