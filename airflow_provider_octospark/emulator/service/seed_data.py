"""The seed data of the emulator: team, accounts and posts with fixed ids."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, Provider

_NAMESPACE: Final = UUID("0c705fa2-0000-4000-8000-000000000000")


def fixed_id(name: str) -> str:
    """Return the fixed UUID of a name."""
    return str(uuid5(_NAMESPACE, name))


TOKEN: Final = "octo_test_local_emulator_key"  # noqa: S105 - opens nothing but the emulator
"""The emulator's API key, in the format of a test key."""

ORGANIZATION_ID: Final = fixed_id("organization")
ORGANIZATION_NAME: Final = "Northwind Data"
TEAM_ID: Final = fixed_id("team")
TEAM_NAME: Final = "Data Platform"

ACCOUNTS: Final[tuple[tuple[Provider, str, str, AccountStatus], ...]] = (
    ("x", "Northwind Data", "northwinddata", "connected"),
    ("linkedin", "Northwind Data", "northwind-data", "connected"),
    ("threads", "Northwind Data", "northwinddata", "connected"),
    ("instagram", "Northwind Data", "northwind.data", "connected"),
    ("facebook", "Northwind Data", "northwinddata", "connected"),
    ("tiktok", "Northwind Data", "northwinddata", "connected"),
    ("youtube", "Northwind Data", "northwinddata", "connected"),
    ("linkedin", "Northwind Engineering", "northwind-engineering", "refresh_needed"),
    ("x", "Northwind Status", "northwindstatus", "disabled"),
    ("instagram", "Northwind Events", "northwind.events", "disconnected"),
)
"""Provider, display name, handle and status of each account."""

POSTS: Final[tuple[tuple[str, str, bool], ...]] = (
    ("Release 2.4 is out", "Release 2.4 is out: faster backfills, and a lineage view you can search.", False),
    ("Weekly metrics digest", "This week in numbers: 1,284 pipelines, 99.97 % of them on time.", False),
    ("Open data set: city bikes", "Ten years of city bike trips, cleaned and documented. Take it.", False),
    ("Data quality report, Q3", "Our data quality report for the third quarter is public.", False),
    ("Meetup: streaming in practice", "Join us on Thursday for three talks on streaming in practice.", False),
    ("We are hiring analytics engineers", "Do you like tests on tables? Come and work with us.", False),
    ("Planned maintenance on Sunday", "The public dashboards are read-only on Sunday from 6 to 7 UTC.", False),
    ("Dashboard tour in 60 seconds", "See the new dashboards in one minute.", True),
    ("How our lineage graph works", "A short film on how we build the lineage graph.", True),
    ("Benchmark: Parquet and friends", "We measured five file formats so that you do not have to.", False),
    ("Changelog, November", "All that changed in November, in one thread.", False),
    ("Thank you, contributors", "214 pull requests by 61 people. Thank you.", False),
)
"""Title, text and whether there is a video, for each post."""
