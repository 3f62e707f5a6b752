"""One answer of a batch system for all clients of a user: asked once per `limits.min_poll`, kept in the spool.

    polled-KEY        when it was asked and with what exit code, the ids that it tells of, and what it said
    polled-KEY.ids    ids that clients asked about of late, each with the time: the next question is about all of these
    polled-KEY.lock   held by the client that asks

A client whose ids the latest answer does not tell of asks at once: its jobs are new, or it has just come. Files are
replaced whole. Where flock is absent each client asks for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

__all__ = ["MOST_IDS", "shared"]

#: How many jobs one question may be about: they are one argument of a command.
MOST_IDS = 5000
#: How long one waits for another's answer before it asks for itself. An id is asked about along with others' for two
#: intervals, and a little more, after a client last did.
_WAIT_S, _SLACK_S = 40, 10
_SHARED = r"""
query() {
%s
}
said=$1/polled-%s now=$(date +%%s)
mine=$(printf '%%s\n' "$2" | tr , '\n' | sed "s/^/$now /")
(
  # at once, so that the client that asks now asks about these too
  { printf '%%s\n' "$mine" >> "$said.ids"; } 2> /dev/null
  if ! { touch "$said.lock" && exec 8>> "$said.lock" && flock -w %d 8; } 2> /dev/null; then
    rm -f -- "$said.ids"
    query "$@"
    exit
  fi
  now=$(date +%%s)
  asked=$({ printf '%%s\n' "$mine"; cat "$said.ids"; } 2> /dev/null |
    awk -v since="$((now - %d))" '$1 >= since && !($2 in seen) { seen[$2]; print }' | head -n %d)
  printf '%%s\n' "$asked" > "$said.ids"
  { read -r at code && read -r told; } 2> /dev/null < "$said" || at=0
  case $at$code in *[!0-9]*) at=0 ;; esac
  age=$((now - at))
  if [ "$age" -ge 0 ] && [ "$age" -lt %d ] && printf '%%s\n%%s\n' "$told" "$2" | awk '
    { n = split($0, ids, ",") }
    NR == 1 { for (i = 1; i <= n; i++) known[ids[i]]; next }
    { for (i = 1; i <= n; i++) if (!(ids[i] in known)) exit 1 }
  '; then
    tail -n +3 "$said"
    exit "$code"
  fi
  spool=$1 all=$(printf '%%s\n' "$asked" | awk '{ printf "%%s%%s", comma, $2; comma = "," }')
  shift 2
  answer=$(query "$spool" "$all" "$@")
  code=$?
  printf '%%s\n' "$now $code" "$all" "$answer" > "$said.part" && mv -- "$said.part" "$said"
  printf '%%s\n' "$answer"
  exit "$code"
)
"""


def shared(script: str, arguments: Sequence[str], min_poll_s: int) -> str:
    """The script of a question ($1 spool, $2 ids with commas), which asks only where no answer is young enough."""
    key = sha256("\0".join([script, *arguments]).encode()).hexdigest()[:12]
    return _SHARED % (script, key, _WAIT_S, 2 * min_poll_s + _SLACK_S, MOST_IDS, min_poll_s)
