"""What is said where the servers of the cluster are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import servers


def test_missing_servers_are_named_with_their_debian_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "_POSTGRES_FOLDERS", ())
    with pytest.raises(
        servers.MissingServersError, match=r"postgres and redis-server.*install postgresql redis-server"
    ):
        servers.find_programs()
    redis = tmp_path / "redis-server"
    redis.touch(mode=0o755)
    with pytest.raises(servers.MissingServersError, match=r"apt-get install postgresql$"):
        servers.find_programs()
