"""The compute bridge of a Virtual Research Environment: `Client()` takes an analysis to wherever there are cores."""

from __future__ import annotations
