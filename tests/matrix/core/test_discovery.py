"""What Airflow's own commands find of the installed provider."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import airflow_provider_octospark
from tests.packaging.discovery import assert_discovered, providers


def test_airflow_finds_the_provider(airflow_home: Path) -> None:
    assert_discovered(providers(sys.executable, os.environ), airflow_provider_octospark.__version__)
