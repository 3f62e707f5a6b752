"""`HTCondorBackend`: jobs of one access point, spoken to by HTCondor's own commands: on it, behind ssh, or from afar.

Ids are CLUSTER.PROC. Machines share no file system with the access point, unless the site says so: script and secrets
are brought to a job by HTCondor, and what it writes comes back while it runs, a file for each attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import Job, JobId
from vrecompute.batch.known import Answer, Seen
from vrecompute.batch.parts import read_parts
from vrecompute.batch.queue_driver import QueueDriver
from vrecompute.batch.shape import Shape
from vrecompute.batch.survey import Survey
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute_backends.htcondor import submit
from vrecompute_backends.htcondor.description import ONCE, elsewhere, header
from vrecompute_backends.htcondor.final_node import add_final_node
from vrecompute_backends.htcondor.matching import Matching
from vrecompute_backends.htcondor.options import HTCondorOptions
from vrecompute_backends.htcondor.poll import ARGUMENTS, QUESTION, read
from vrecompute_backends.htcondor.rules import htcondor_rules
from vrecompute_backends.htcondor.schedd import condor, exports, retrieve
from vrecompute_backends.htcondor.states import LEAVES, status_of
from vrecompute_backends.htcondor.survey import survey

__all__ = ["HTCondorBackend"]

_ID = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
#: $1 the spool, $2 an id: the logs of its attempts, one after another.
_LOGS = (
    'cd -- "$1" && ls -v -- condor-"$2".*.out condor-"$2".*.err 2> /dev/null | '
    'while read -r log; do cat -- "$log"; done'
)


class HTCondorBackend(QueueDriver):
    """HTCondor by `condor_submit`, `condor_q`, `condor_history` and `condor_rm`."""

    system = "HTCondor"
    capabilities = Capabilities(gpus=True, spans=False)
    starts_images = True
    options_model = HTCondorOptions
    site_rules = staticmethod(htcondor_rules)
    options: HTCondorOptions
    array = True
    accounting_lags = False  # a job is in the history before it leaves the queue
    ending = "condor_rm"
    preamble = (
        "exec 2>&1",
        'ad() { sed -n "s/^$1 = //p" "$_CONDOR_JOB_AD"; }',
        # between being put back and being removed it may be given another machine
        f'[ "$(ad {ONCE})" = false ] || [ "$(ad NumJobStarts)" = 0 ] || exit {LEAVES}',
        '[ -w "${HOME:-/}" ] || export HOME=$PWD',
        "starts=$(ad NumShadowStarts)",  # none of a job on the access point itself
    )
    variables = {  # noqa: RUF012 -- a Mapping in QueueBackend
        "job": "$(ad ClusterId).$(ad ProcId)",
        "attempt": "$((starts > 0 ? starts - 1 : 0))",
        "index": "$(ad ProcId)",
        "began": "$(ad JobCurrentStartDate)",
    }

    def __init__(self, site: Site, access: Access | None = None) -> None:
        super().__init__(site, access)
        self.shares_spool = not self.options.file_transfer
        self._matching = Matching()

    @property
    def spool_suffix(self) -> str:
        """The schedd elsewhere: ids are its own."""
        return f"-{self.options.schedd}" if self.options.schedd else ""

    def header(self, job: Job, shape: Shape) -> list[str]:
        """The submit description, as comments."""
        return header(job, shape, self.site, self.options)

    def exclude(self, nodes: Sequence[str]) -> list[str]:
        """In the requirements."""
        return [elsewhere(self.options, nodes)]

    def hand_in(self, job: Job, script: str, count: int) -> str:
        """By condor_submit, copies as one cluster."""
        return submit.hand_in(self, job, script, count)

    def afterwards(self, ids: Sequence[JobId], job: Job) -> bool:
        """By a DAGMan FINAL node, where the site allows one."""
        if not self.options.final_node:
            return False
        self._files.deliver(job, 1)
        taken = False
        try:
            taken = add_final_node(self, ids, job, self.script(job))
        finally:
            if not taken:
                self._files.refused(job, 1)
        return taken

    def copies(self, taken: str, count: int) -> list[JobId]:
        """Processes of one cluster."""
        return [JobId(taken)] if count == 1 else [JobId(f"{taken}.{index}") for index in range(count)]

    def ages(self, name: str) -> Mapping[str, float]:
        """By condor_q, and condor_history for those that left it a moment ago; a cluster counts as one."""
        return submit.ages(self, name)

    def is_id(self, text: str) -> bool:
        """CLUSTER.PROC."""
        return _ID.fullmatch(text) is not None

    def ask_about(self, ids: Sequence[JobId]) -> Answer[Seen]:
        """By condor_q and condor_history; of one that no machine matches, now and then why."""
        question = exports(self.options) + QUESTION
        marks, lines, _ = self.ask_site(question, ids, *ARGUMENTS, self._matching.wanted)
        answer = read(marks, lines, ids)
        retrieve(self, (i for i, record in answer.records.items() if record.to_retrieve))
        analysis = read_parts(lines).get("analysis")
        self._matching.learn(answer.records, analysis.lines if analysis else [])
        return answer.meaning(lambda r: Seen(status_of(r, self._matching.why(r.job_id)), secrets=r.secrets))

    def end(self, ids: Sequence[str]) -> None:
        """By condor_rm."""
        submit.remove(self, ids)

    def log(self, job_id: JobId) -> str:
        """Of the first attempt."""
        return f"condor-{job_id}.0.out"

    def logs(self, job_id: JobId) -> str:
        """What all its attempts wrote."""
        if not self.is_id(job_id):
            return ""
        return self.access.run(["sh", "-c", _LOGS, "sh", self.spool, job_id]).text

    def survey(self) -> Survey:
        """Machines and limits of the pool."""
        return survey(self, self.greet())

    def greet(self) -> str:
        """What condor_version says, where a schedd answers."""
        done = condor(self, ["sh", "-c", "condor_q -totals > /dev/null && condor_version"])
        if done.code != 0 or not done.text.strip():
            raise Unavailable(f"{self.access}: condor_q: {submit.complaint(done)}")
        return "HTCondor " + (re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.text) or [done.text.strip()])[0]
