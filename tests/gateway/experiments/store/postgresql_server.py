"""A PostgreSQL server of the tests' own, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep
from urllib.parse import quote

import psycopg

PASSWORD = "a:b@c/d %?#"  # all that has to be written otherwise in a URL
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "autovacuum": "off",
    "max_connections": "30",
    "shared_buffers": "32MB",
}


def programs() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: float(each.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _other_user() -> dict[str, int]:
    """The server refuses to run as root."""
    if os.getuid() != 0:
        return {}
    names = {each.pw_name: each for each in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid}


class PostgresqlServer:
    """Its databases are at `url(name)`, for the user torii, who has made it."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = _other_user()
        self._folder = Path(mkdtemp(prefix="torii-test-postgresql-"))
        if self._user:
            os.chown(self._folder, self._user["user"], self._user["group"])
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0

    def create(self) -> None:
        """Make its data folder; raises CalledProcessError."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        flags = ["-U", "torii", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "--no-sync"]
        command = [self._binaries / "initdb", "-D", self._folder / "data", *flags]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._user)

    def start(self) -> None:
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-k", self._folder, *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._user)
        end = monotonic() + 30
        while True:
            try:
                psycopg.connect(self.conninfo("postgres")).close()
            except psycopg.OperationalError:
                if monotonic() > end or self._process.poll() is not None:
                    raise
                sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and all its sessions; SIGQUIT: without writing anything more."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def conninfo(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(host=str(self._folder), dbname=database, user="torii", password=PASSWORD)

    def url(self, database: str, password: str = PASSWORD, user: str = "torii") -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@/{database}?host={quote(str(self._folder))}"

    def database(self) -> str:
        """A new, empty database; gives its name."""
        self._made += 1
        name = f"store_{self._made}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return name

    def run(self, database: str, *statements: str) -> None:
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def running(binaries: Path) -> Iterator[PostgresqlServer]:
    server = PostgresqlServer(binaries)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        server.remove()
