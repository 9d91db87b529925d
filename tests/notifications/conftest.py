"""The emulator of the triggers' tests serves the notifier too."""

from __future__ import annotations

from tests.triggers.conftest import emulator

__all__ = ["emulator"]
