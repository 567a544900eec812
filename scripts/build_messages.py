"""Write the Python classes of the messages between CometBFT and a node; --check only says whether they are current."""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCES = Path(__file__).parents[1] / "src"
PACKAGE = Path("guildbook") / "engine" / "abci"
MADE = ("messages_pb2.py", "messages_pb2.pyi")


def build(target: Path) -> None:
    """Make the generated files below ``target``."""
    status = protoc.main(
        [
            "protoc",
            f"-I{SOURCES}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            str(SOURCES / PACKAGE / "messages.proto"),
        ]
    )
    if status:
        raise SystemExit(status)


def stale() -> list[str]:
    """The generated files that are not what messages.proto gives."""
    with tempfile.TemporaryDirectory() as draft:
        build(Path(draft))
        return [
            name
            for name in MADE
            if not (SOURCES / PACKAGE / name).exists()
            or (SOURCES / PACKAGE / name).read_bytes() != (Path(draft) / PACKAGE / name).read_bytes()
        ]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if found := stale():
            raise SystemExit(f"not current, run make messages: {', '.join(found)}")
    else:
        build(SOURCES)
