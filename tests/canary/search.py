"""Looking for a secret in all that a run left behind: every file, and every value of every table of a database."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from tests.api.leaks import found_in


def places_of(secret: str, folder: Path, fernet_key: str) -> set[str]:
    """Return where below a folder a secret stands, in any form: a file's path, or a table's column.

    :param fernet_key: what Airflow encrypted values of its database with.
    """
    found = set()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(folder))
        if found_in(secret, path.read_bytes()):
            found.add(name)
        if path.suffix == ".db":
            found |= {f"{name}: {column}" for column in _columns_with(secret, path, Fernet(fernet_key))}
    return found


def _columns_with(secret: str, path: Path, fernet: Fernet) -> Iterable[str]:
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - the database's own names
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    # A connection's own row is where its key belongs, and where it is encrypted.
                    if table != "connection" and any(found_in(secret, form) for form in _readings(value, fernet)):
                        yield f"{table}.{column}"
    database.close()


def _readings(value: object, fernet: Fernet) -> Iterable[bytes]:
    """A value as it is, decrypted and decompressed."""
    if value is None or isinstance(value, int | float):
        return
    data = value if isinstance(value, bytes) else str(value).encode()
    yield data
    for read in (fernet.decrypt, zlib.decompress):
        try:
            yield read(data.strip(b'"'))
        except (InvalidToken, zlib.error):
            continue
