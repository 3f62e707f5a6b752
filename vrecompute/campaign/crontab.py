"""The lines that have a campaign tick: of cron, a systemd timer, scrontab or a Kubernetes CronJob.

Exit code 6, nothing to do, counts as success in each.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Literal, get_args

from vrecompute.campaign.load import CampaignFile
from vrecompute.errors import UsageError

__all__ = ["KINDS", "PAUSES", "Kind", "crontab"]

Kind = Literal["cron", "systemd", "scrontab", "kubernetes"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Minutes between ticks: those that an hour has a whole number of times. Cron counts anew in each hour.
PAUSES = tuple(minutes for minutes in range(1, 61) if 60 % minutes == 0)


def crontab(file: CampaignFile, kind: Kind, minutes: int = 15, image: str = "vrecompute:latest") -> str:
    """The text to install; `minutes` is the pause between ticks, one of PAUSES, else UsageError."""
    if minutes not in PAUSES:
        raise UsageError(
            f"ticks {minutes} minutes apart cannot be written as one line, since cron counts minutes anew in each "
            f"hour; choose one of {', '.join(map(str, PAUSES))}"
        )
    command = [*_program(), "campaign", "tick", str(file.path)]
    name = file.campaign.name.lower()
    return {
        "cron": _cron(command, minutes),
        "scrontab": _scrontab(command, minutes, name),
        "systemd": _systemd(command, minutes, name),
        "kubernetes": _kubernetes(file, minutes, name, image),
    }[kind]


def _program() -> list[str]:
    beside = Path(sys.executable).with_name("vrecompute")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "vrecompute"]


def _minute(pause: int) -> str:
    """The first field of a line of cron."""
    return "0" if pause == 60 else f"*/{pause}"


def _six_is_success(command: list[str]) -> str:
    return f"{shlex.join(command)} || [ $? -eq 6 ]"


def _cron(command: list[str], minutes: int) -> str:
    # a % ends the command of a crontab unless it is escaped
    line = _six_is_success(command).replace("%", "\\%")
    return f"{_minute(minutes)} * * * * {line}\n"


def _scrontab(command: list[str], minutes: int, name: str) -> str:
    options = [f"#SCRON --job-name=vre-campaign-{name}", "#SCRON --time=01:00:00", "#SCRON --ntasks=1"]
    return "\n".join([*options, f"{_minute(minutes)} * * * * {_six_is_success(command)}"]) + "\n"


def _systemd(command: list[str], minutes: int, name: str) -> str:
    # systemd takes words in double quotes, where % and $ have a meaning
    words = " ".join(json.dumps(word).replace("%", "%%").replace("$", "$$") for word in command)
    unit = f"vrecompute-campaign-{name}"
    return f"""\
# ~/.config/systemd/user/{unit}.service
[Unit]
Description=Tick of campaign {name}

[Service]
Type=oneshot
ExecStart={words}
SuccessExitStatus=6
# jobs on this machine outlive the tick that began them
KillMode=process

# ~/.config/systemd/user/{unit}.timer
[Unit]
Description=Ticks of campaign {name}

[Timer]
OnCalendar={"hourly" if minutes == 60 else f"*:0/{minutes}"}
Persistent=true

[Install]
WantedBy=timers.target
"""


def _kubernetes(file: CampaignFile, minutes: int, name: str, image: str) -> str:
    command = _six_is_success(["vrecompute", "campaign", "tick", f"/campaign/{file.path.name}"])
    label = "".join(c if c.isalnum() else "-" for c in name).strip("-")[:40]
    return f"""\
# kubectl create configmap vre-campaign-{label} --from-file={shlex.quote(str(file.path))}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: vre-campaign-{label}
spec:
  schedule: "{_minute(minutes)} * * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: tick
              image: {json.dumps(image)}
              command: ["sh", "-c", {json.dumps(command)}]
              volumeMounts:
                - {{name: campaign, mountPath: /campaign, readOnly: true}}
          volumes:
            - name: campaign
              configMap: {{name: vre-campaign-{label}}}
"""
