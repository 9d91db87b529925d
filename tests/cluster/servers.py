"""PostgreSQL and Redis, on 127.0.0.1, from what is installed on this machine."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.system.processes import LOOPBACK, calm_environment
from tests.system.supervisor import Supervisor

USER: Final = "airflow"
DATABASE: Final = "airflow"
POSTGRES: Final = "postgresql"
REDIS: Final = "redis"

# Where Debian, Red Hat and Homebrew put the servers of each version, outside PATH.
_POSTGRES_FOLDERS: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
DEBIAN_PACKAGES: Final = {"postgres": "postgresql", "redis-server": "redis-server"}
# PostgreSQL does not run as root. `postgres` exists where Debian's package was installed, `nobody` everywhere.
_UNPRIVILEGED_USERS: Final = ("postgres", "nobody")
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0
_MAX_CONNECTIONS: Final = 200


class MissingServersError(Exception):
    """A server is not installed; the message names it and the package that has it."""


class ServerError(Exception):
    """A server did not start; the message has the end of its log."""


@dataclass(frozen=True)
class Programs:
    """Where the servers' programs are.

    :param postgres: the folder with ``postgres`` and ``initdb``.
    :param redis: the program ``redis-server``.
    """

    postgres: Path
    redis: Path


def find_programs() -> Programs:
    """Look for the servers.

    :raises MissingServersError: for whatever is not there, with the Debian packages that have it.
    """
    postgres = _postgres_folder()
    redis = shutil.which("redis-server")
    missing = [name for name, found in (("postgres", postgres), ("redis-server", redis)) if not found]
    if postgres is None or redis is None:
        packages = " ".join(DEBIAN_PACKAGES[name] for name in missing)
        raise MissingServersError(
            f"The cluster needs {' and '.join(missing)}, which this machine does not have; on Debian and Ubuntu: "
            f"apt-get install {packages}"
        )
    return Programs(postgres, Path(redis))


def _postgres_folder() -> Path | None:
    """Return the newest one."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).parent] if on_path else []
    for pattern in _POSTGRES_FOLDERS:
        folders += sorted(Path("/").glob(pattern.lstrip("/")), key=lambda folder: (len(folder.parts), str(folder)))
    complete = [folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()]
    return complete[-1] if complete else None


class Servers:
    """Both servers as members of a family of processes; what they store is gone afterwards."""

    def __init__(self, programs: Programs, postgres_port: int, redis_port: int) -> None:
        self._programs = programs
        self._postgres_port = postgres_port
        self._redis_port = redis_port
        self._password = secrets.token_urlsafe(24)
        # Not in the Airflow home, which only its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="octospark-servers-"))
        self._data = self._folder / "postgresql"

    @property
    def database_url(self) -> str:
        """For ``[database] sql_alchemy_conn``."""
        return f"postgresql+psycopg2://{USER}:{self._password}@{LOOPBACK}:{self._postgres_port}/{DATABASE}"

    @property
    def result_backend(self) -> str:
        """For ``[celery] result_backend``."""
        return f"db+postgresql://{USER}:{self._password}@{LOOPBACK}:{self._postgres_port}/{DATABASE}"

    @property
    def broker_url(self) -> str:
        """For ``[celery] broker_url``."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._redis_port}/0"

    def start(self, family: Supervisor) -> None:
        """Make an empty database, start both servers and wait until they can be used.

        :raises ServerError: one of them does not start.
        """
        self._make_folders()
        self._initialize(family)
        self.start_postgres(family)
        self.start_redis(family)
        self._wait_for_postgres(family)
        self._run_psql(family, "create", f"CREATE DATABASE {DATABASE}")

    def start_postgres(self, family: Supervisor) -> None:
        """Start PostgreSQL, under the supervisor."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self._postgres_port),
            "unix_socket_directories": "",
            "max_connections": str(_MAX_CONNECTIONS),
            # In the data folder, which is removed, whatever ends the server.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs.postgres / "postgres"), "-D", str(self._data), *options]
        family.keep(POSTGRES, self._as_unprivileged(command), calm_environment(), self._folder)

    def start_redis(self, family: Supervisor) -> None:
        """Start Redis, under the supervisor."""
        command = [str(self._programs.redis), str(self._folder / "redis.conf")]
        family.keep(REDIS, command, calm_environment(), self._folder)

    def stop_postgres(self, family: Supervisor) -> None:
        """Stop PostgreSQL as an administrator does (`pg_ctl stop -m fast`), and leave it stopped."""
        _stop(family, POSTGRES, signal.SIGINT)

    def stop_redis(self, family: Supervisor) -> None:
        """Stop Redis, which writes its data first, and leave it stopped."""
        _stop(family, REDIS, signal.SIGTERM)

    def remove(self) -> None:
        """Remove what they have stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_folders(self) -> None:
        self._folder.chmod(0o755)
        self._data.mkdir(mode=0o700)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if (user := _unprivileged_user()) is not None:
            for path in (self._data, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        redis = self._folder / "redis.conf"
        redis.touch(mode=0o600)
        redis.write_text(
            f"bind {LOOPBACK}\nport {self._redis_port}\nrequirepass {self._password}\ndir {self._folder}\n"
            # A queue that a restart empties would leave tasks queued for ever.
            'appendonly yes\nsave ""\n'
        )

    def _initialize(self, family: Supervisor) -> None:
        command = [
            *(str(self._programs.postgres / "initdb"), "-D", str(self._data), "-U", USER, "--encoding", "UTF8"),
            *("--locale", "C", "--auth", "scram-sha-256", "--pwfile", str(self._folder / "password"), "--no-sync"),
        ]
        family.start("initdb", self._as_unprivileged(command), calm_environment(), self._folder)
        code = family.wait("initdb")
        tail = family.log_tail("initdb")
        family.end("initdb")
        if code != 0:
            raise ServerError(f"initdb ended with exit code {code}; the end of its log:\n{tail}")

    def _wait_for_postgres(self, family: Supervisor) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._accepts_connections(family):
            if time.monotonic() > deadline or family.given_up():
                tails = "\n".join(family.log_tail(name) for name in (POSTGRES, REDIS))
                raise ServerError(f"PostgreSQL does not accept connections; the ends of the servers' logs:\n{tails}")
            time.sleep(0.2)

    def _accepts_connections(self, family: Supervisor) -> bool:
        with suppress(ServerError):
            self._run_psql(family, "probe", "SELECT 1")
            return True
        return False

    def _run_psql(self, family: Supervisor, name: str, statement: str) -> None:
        """Run a statement. As a member of the family, so that an interrupt ends this step as well."""
        command = [
            *(str(self._programs.postgres / "psql"), "-h", LOOPBACK, "-p", str(self._postgres_port), "-U", USER),
            *("-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement),
        ]
        family.start(name, command, {**calm_environment(), "PGPASSWORD": self._password}, self._folder)
        code = family.wait(name)
        family.end(name)
        if code != 0:
            raise ServerError(f"psql ended with exit code {code}:\n{family.log_tail(name)}")

    def _as_unprivileged(self, command: list[str]) -> list[str]:
        user = _unprivileged_user()
        if user is None:
            return command
        return [sys.executable, "-c", _AS_USER, str(user.pw_uid), str(user.pw_gid), *command]


# The process stays the same, and so do its id and its session.
_AS_USER: Final = """
import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(command[0], command)
"""


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user for PostgreSQL; None: the one who runs this."""
    if os.getuid() != 0:
        return None
    for name in _UNPRIVILEGED_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED_USERS)}")


def _stop(family: Supervisor, name: str, number: signal.Signals) -> None:
    """Ask a member to stop; kill it if it does not."""
    family.release(name)
    os.kill(family.pid(name), number)
    deadline = time.monotonic() + _STOP_TIMEOUT
    while family.exit_code(name) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    family.end(name)
