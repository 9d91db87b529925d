"""The two secrets of the canary: one that must never show, and one that must, so that the search is known to work."""

from __future__ import annotations

KEY = "octo_live_CANARY-9e21/4c+d7b0f3"
CARELESS = "octo_live_CARELESS-77aa/c2+e19d04"
