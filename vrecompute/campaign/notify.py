"""Tells people and programs of a change of state: by mail through sendmail, and by a POST to a webhook."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from vrecompute.campaign.load import CampaignFile

__all__ = ["is_change", "message", "notify"]

_TIMEOUT_S = 20.0
_QUIET = frozenset({0, 6})


def is_change(code: int, before: int | None) -> bool:
    """Whether a tick's exit code is news beside that of the tick before: trouble that is new, other, or over."""
    trouble, was = code not in _QUIET, before is not None and before not in _QUIET
    return (trouble and code != before) or (was and not trouble)


def message(campaign: str, code: int, summary: str, recipients: tuple[str, ...], body: str) -> EmailMessage:
    """The mail; its headers hold no line break, whatever a summary does."""
    mail = EmailMessage()
    first = " ".join(summary.split())[:150] or "all is well again"
    mail["Subject"] = f"[vrecompute] {campaign}: {first}"
    mail["To"] = ", ".join(recipients)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Vrecompute-Exit-Code"] = str(code)
    mail.set_content(f"{summary or 'All is well again.'}\n\n{body}\n")
    return mail


def notify(file: CampaignFile, code: int, summary: str, before: int | None, status: Mapping[str, Any]) -> Iterator[str]:
    """Tell; gives a sentence for each way that failed, which never shows a secret address."""
    wanted = file.campaign.notify
    if not is_change(code, before):
        return
    if wanted.mail:
        body = json.dumps({key: status[key] for key in ("units_by_state", "inputs", "inputs_failing")}, indent=2)
        mail = message(file.campaign.name, code, summary, wanted.mail, body)
        program = Path(file.beside(wanted.sendmail))
        try:
            command = [str(program), "-t", "-i"]
            done = subprocess.run(command, input=mail.as_bytes(), capture_output=True, timeout=_TIMEOUT_S, check=False)
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[:200]
                yield f"no mail was sent: {program} ended with exit code {done.returncode}: {said}"
        except (OSError, subprocess.SubprocessError) as error:
            yield f"no mail was sent: {program}: {getattr(error, 'strerror', None) or type(error).__name__}"
    address = wanted.webhook or (os.environ.get(wanted.webhook_from) if wanted.webhook_from else None)
    if wanted.webhook_from and not address:
        yield f"no webhook was called: the variable {wanted.webhook_from} is not set"
    if address:
        import urllib3  # it opens a socket when it is imported

        document = {"campaign": file.campaign.name, "exit_code": code, "summary": summary, "before": before}
        try:
            with urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S) as pool:
                answer = pool.request("POST", address, json=document, redirect=False)
            if answer.status >= 300:
                yield f"the webhook answered {answer.status}"
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            yield f"the webhook was not reached: {type(error).__name__}"
