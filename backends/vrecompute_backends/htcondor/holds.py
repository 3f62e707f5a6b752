"""Why HTCondor holds a job, or puts it back, in sentences; and which holds are the end of an attempt.

Source: HTCondor Manual, appendix "Job ClassAd Attributes", HoldReasonCode.
"""

from __future__ import annotations

from vrecompute.batch.contract import State

__all__ = ["ACCIDENTS", "NO_IMAGE", "OVER_MEMORY", "OVER_TIME", "SPOOLING", "hold_ends", "image_failed", "why_held"]

#: Memory: as the starter or the machine's policy says it. Expressions of the submit language.
OVER_MEMORY = "HoldReasonCode == 34 || (HoldReasonCode == 21 && HoldReasonSubCode == 102)"
OVER_TIME = "member(HoldReasonCode, {46, 47})"
#: An image that cannot be started is no hold: the starter tries it first, and the job is put back, time and again.
_IMAGE_FAILED = "Singularity test failed"
NO_IMAGE = f'regexp("{_IMAGE_FAILED}", VacateReason ?: "")'

#: Code -> what happened, and what to do.
_HOLDS = {
    1: "a person holds it; `condor_release` lets it go",
    3: "its own policy holds it; mend `options.commands`",
    4: "the credentials that belong to it are damaged; renew them, then `condor_release` it",
    5: "its own policy could not be evaluated; mend `options.commands`",
    6: "its machine could not start it",
    7: "its log could not be opened; look at the space left where `stage.scratch` is",
    8: "its input could not be opened",
    9: "its log could not be opened; look at the space left where `stage.scratch` is",
    10: "its input could not be opened",
    11: "its machine and the access point did not agree on its files",
    12: "files of it could not be transferred",
    13: "files for it could not be transferred",
    14: "the folder that it was submitted from is gone",
    15: "it was submitted to be held; `condor_release` lets it go",
    16: "its files are on the way to the access point",
    18: "its machine and the access point did not agree on its files",
    19: "a hook of its machine failed",
    21: "the policy of its machine holds it",
    22: "its log of events could not be opened; look at the space left where `stage.scratch` is",
    23: "its owner's account could not be used on the access point; ask the site",
    26: "the policy of the access point holds it; ask the site",
    27: "the policy of the access point could not be evaluated; ask the site",
    31: "its input files are larger than the site allows",
    32: "its output files are larger than the site allows",
    34: "it used more memory than it asked for; raise `workers.memory`",
    35: "its container image could not be used; mend `environment.image`",
    45: "its machine runs no containers of its kind",
    46: "it ran longer than it may",
    47: "it ran longer than it may",
    48: "a hook of the access point failed",
}
#: The hold of a job whose files are on the way to a schedd elsewhere.
SPOOLING = 16
#: Holds that the next machine, or the next try, may be without.
ACCIDENTS = frozenset({6, 7, 9, 11, 12, 13, 18, 19, 45})
#: Those of them that are about what was asked, once they stay; the others are about machines.
_OF_THE_JOB = frozenset({7, 9, 12, 13})


def image_failed(vacated: str) -> str:
    """Why the image of a job could not be used, of the reason that it was put back for; empty if that was another."""
    _, failed, said = vacated.partition(_IMAGE_FAILED)
    return why_held(35, said.removeprefix(":")) if failed else ""


def hold_ends(code: int | None, subcode: int | None) -> State | None:
    """How an attempt has ended that is held for this, by a policy that removes it; None where it only waits."""
    if code == 34 or (code, subcode) == (21, 102):
        return State.OOM
    if code in {46, 47}:
        return State.TIMEOUT
    if code in ACCIDENTS:
        return State.FAILED if code in _OF_THE_JOB else State.NODE_FAIL
    return None


def why_held(code: int | None, reason: str) -> str:
    """What holds a job: the code's sentence, and what HTCondor said."""
    said = " ".join(reason.split())[:300]
    sentence = _HOLDS.get(code or 0, "")
    return f"{sentence} ({said})" if sentence and said else sentence or said or "HTCondor holds it"
