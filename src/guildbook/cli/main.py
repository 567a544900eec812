"""The command line: ``guildbook COMMAND ...``.

This is the rim: what goes wrong inside is told here, once. An error is two lines for people (what was refused, with
the values; what to do) or one JSON document, and an exit status of the error table. A Python traceback is for
``--debug``. Ctrl-C ends with 130 and SIGTERM with 143, after everything half-written was removed; a reader that goes
away (``| head``) ends the command without a word.
"""

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import click

import guildbook
from guildbook.cli.command import Group
from guildbook.cli.terminal import Terminal
from guildbook.primitives.errors import ERRORS, EXIT_USAGE, GuildbookError, spec_for
from guildbook.runtime.arguments import to_json

EXIT_FAULT = 1
"""A mistake of this program, which is no fault of the caller."""
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_PIPE_CLOSED = 141
INTERRUPT_AGAIN_S = 0.01
FAULT_CODE = "cli.fault"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

COMMANDS = {
    "init": "guildbook.cli.founding",
    "run": "guildbook.cli.running",
    "status": "guildbook.cli.running",
    "call": "guildbook.cli.calling",
    "query": "guildbook.cli.calling",
    "sql": "guildbook.cli.reading",
    "prove": "guildbook.cli.proving",
    "verify": "guildbook.cli.proving",
    "trust": "guildbook.cli.proving",
    "governance": "guildbook.cli.governance",
    "check": "guildbook.cli.checking",
    "replay": "guildbook.cli.checking",
    "diverge": "guildbook.cli.diverging",
    "backup": "guildbook.cli.saving",
    "restore": "guildbook.cli.saving",
    "snapshot": "guildbook.cli.snapshots",
    "prune": "guildbook.cli.leaving",
    "export-all": "guildbook.cli.leaving",
    "witness": "guildbook.cli.witnessing",
    "keys": "guildbook.cli.keys",
    "network": "guildbook.cli.network",
    "gate": "guildbook.cli.authoring",
    "new-app": "guildbook.cli.authoring",
    "demo": "guildbook.cli.demonstrating",
    "bench": "guildbook.cli.bench",
}


@click.group(
    cls=Group,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="guildbook COMMAND --help shows a command's options and examples.",
)
@click.version_option(guildbook.__version__, prog_name="guildbook", message="%(prog)s %(version)s")
def guildbook_command() -> None:
    """A ledger that organisations keep together.

    Found a network and run its node, call its contracts, query it in SQL, and prove what is in it to anybody.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. ``arguments`` are those behind ``guildbook``."""
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        terminal = Terminal()
        terminal.as_json = "--json" in words
        terminal.debug = "--debug" in words
        _write_anything()
        previous, hook = signal.signal(signal.SIGTERM, _terminated), sys.unraisablehook
        sys.unraisablehook = partial(_interrupt_again, hook)
        try:
            return _run(words, terminal)
        finally:
            signal.signal(signal.SIGTERM, previous)
            sys.unraisablehook = hook
    except BrokenPipeError:
        _forget_output()
        return EXIT_PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        # An interrupt that has passed through exec() of text counts as unhandled for ever, and the interpreter would
        # end by the signal in place of the status (CPython, run_eval_code_obj); running any text forgets it.
        exec("")  # noqa: S102 - the empty text
        sys.stderr.write("stopped\n")
        return EXIT_INTERRUPTED


def _run(words: list[str], terminal: Terminal) -> int:
    try:
        with guildbook_command.make_context("guildbook", words, obj=terminal) as context:
            status = guildbook_command.invoke(context)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        sys.stdout.flush()
        return done.exit_code
    except (click.Abort, BrokenPipeError):
        raise
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stdout.write(error.format_message() + "\n")
        return EXIT_USAGE
    except click.ClickException as error:
        return _tell_usage(error, terminal)
    except GuildbookError as error:
        return _tell(error, terminal)
    except OSError as error:
        return _tell(_of_operating_system(error), terminal)
    except Exception as error:  # noqa: BLE001 - the program's rim: a fault is told in one form, wherever it arose
        return _tell_fault(error, terminal)


def _tell(error: GuildbookError, terminal: Terminal) -> int:
    spec = spec_for(error.code)
    hint = error.hint or spec.next_step
    fields = {name: _plain(value) for name, value in error.fields.items()}
    document = {"code": error.code, "message": error.message, "hint": hint, "fields": fields}
    if terminal.debug:
        traceback.print_exception(error)
    message = error.message
    if error.code not in ERRORS and fields:  # a contract's refusal: its values stand in its fields alone
        message = f"{message} ({', '.join(f'{name} {value}' for name, value in fields.items())})"
    terminal.error(document, f"{message} [{error.code}]", hint, receipt=getattr(error, "receipt", None))
    return spec.exit_status


def _tell_usage(error: click.ClickException, terminal: Terminal) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "guildbook"
    message = " ".join(error.format_message().split())
    told = GuildbookError("cli.usage", message, hint=f"run: {command} --help")
    return _tell(told, terminal)


def _tell_fault(error: Exception, terminal: Terminal) -> int:
    what = f"{type(error).__name__}: {error}".strip()
    told = GuildbookError(
        FAULT_CODE,
        f"this is a mistake of the program: {what}",
        hint="run the same again with --debug, and report what it shows",
    )
    if terminal.debug:
        traceback.print_exception(error)
    terminal.error(
        {"code": FAULT_CODE, "message": told.message, "hint": told.hint, "fields": {}},
        told.message,
        told.hint,
    )
    return EXIT_FAULT


def _of_operating_system(error: OSError) -> GuildbookError:
    """What the operating system refused, as an error of the table."""
    place = error.filename if isinstance(error.filename, (str, bytes)) else ""
    place = os.fsdecode(place)
    what = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return GuildbookError(
            "store.full", f"no room is left{f' for {place}' if place else ''}: {what}",
            hint="free space, or write to another volume", path=place)  # fmt: skip
    code = (
        "cli.usage"
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
        else "store.io"
    )
    return GuildbookError(
        code, f"{place or 'a file'}: {what}", hint="check the path and its permissions", path=place)  # fmt: skip


def _plain(value: Any) -> Any:
    """A field of an error as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return to_json(value)
    return str(value)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM: leave by the way that cleans up."""
    raise SystemExit(EXIT_TERMINATED)


def _interrupt_again(hook: Callable[[Any], Any], unraisable: Any) -> None:
    """An interrupt that struck where nothing can be raised, as in a weak reference's callback, soon comes again."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(INTERRUPT_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        hook(unraisable)


def _write_anything() -> None:
    """Let every text be written, also where the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Nobody reads standard output any more: let the interpreter's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    raise SystemExit(main())
