"""One DuckDB database object: how it is opened, shared between threads, interrupted, and opened again.

Theory. The views' two files are attached to an empty database in memory, then everything that reaches outside is shut
off for good: files, network, extensions, settings. DuckDB locks the files, so one process owns them.

After an error that DuckDB calls internal or fatal, every later statement of the same object fails. The object is then
replaced, once the last thread has left it; ``generation`` counts the replacements, so that whoever remembers something
about the database knows when to read it again.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import duckdb

from guildbook.primitives.errors import GuildbookError
from guildbook.views.files import bases_path
from guildbook.views.schema import CURRENT, LEDGER, quoted
from guildbook.views.settings import BASES_LOG_FACTOR, ViewsSettings
from guildbook.views.sql import Parser

MESSAGE_CHARS_MAX = 2_000
ROW_GROUP_ROWS = 30_720
"""Rows in a row group of the histories, a quarter of what DuckDB takes by itself: writing the log into the file writes
the last, unfinished group of each table again, and the feed waits for that."""

_BROKEN = (duckdb.InternalException, duckdb.FatalException)
_WRONG = (duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException,
          duckdb.InvalidTypeException, duckdb.NotImplementedException)
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""How the system says that there is no room."""
_DRAWN: dict[str, type[duckdb.Error]] = {
    "Out of Memory Error": duckdb.OutOfMemoryException, "IO Error": duckdb.IOException,
    "Serialization Error": duckdb.SerializationException}


class Reader:
    """One running statement: its connection, and why it was interrupted, if it was."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor
        self.interrupted_by = ""
        """The error code of the interruption; empty: none."""

    def interrupt(self, code: str) -> None:
        """End the statement with an error of ``code``."""
        self.interrupted_by = self.interrupted_by or code
        self.cursor.interrupt()


class Instance:
    """The database object for the file at ``path``. Safe in any thread."""

    def __init__(self, path: Path, settings: ViewsSettings) -> None:
        """Open or make the file. Raises as ``opening`` says."""
        self._path = path
        self._settings = settings
        self._changing = threading.Condition()
        self._users = 0
        self._readers: set[Reader] = set()
        self._fronts = 0
        self._broken = False
        self._closed = False
        self.generation = 0
        """How often the object was replaced."""
        self._open()

    def _open(self) -> None:
        settings = self._settings
        self._connection = duckdb.connect(":memory:", config={
            "memory_limit": f"{settings.memory_bytes_max}B",
            "threads": str(settings.threads),
            "temp_directory": f"{self._path}.tmp",
            "max_temp_directory_size": f"{settings.temporary_bytes_max}B",
            "checkpoint_threshold": f"{BASES_LOG_FACTOR * settings.log_bytes_max}B",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        })
        try:
            with opening(self._path):
                self._connection.execute("SET GLOBAL TimeZone = 'UTC'")
                self._connection.execute(f"ATTACH {_literal(str(self._path))} AS {LEDGER} "
                                         f"(ROW_GROUP_SIZE {ROW_GROUP_ROWS})")
                self._connection.execute(f"ATTACH {_literal(str(bases_path(self._path)))} AS {CURRENT}")
                self._connection.execute("SET GLOBAL enable_external_access = false")
                self._connection.execute("SET GLOBAL lock_configuration = true")
            self._writer = self._connection.cursor()
            self._merger = self._connection.cursor()
            self._parser = Parser(self._connection.cursor())
        except BaseException:
            self._connection.close()
            raise

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        """Count the calling thread in, after the object was replaced if it had to be."""
        with self._changing:
            while self._broken and self._users:
                self._changing.wait()
            if self._closed:
                raise unavailable("the views are closed")
            if self._broken:
                self._connection.close()
                self._open()
                self._broken = False
                self.generation += 1
            self._users += 1
        try:
            yield
        except _BROKEN as error:
            self._broken = self._broken or not self._answers()
            if _is_full(error):
                raise _full(self._path, error) from error
            raise unavailable(f"the database failed and is opened again: {_text(error)}") from error
        finally:
            with self._changing:
                self._users -= 1
                self._changing.notify_all()

    def _answers(self) -> bool:
        """Whether the object still works after an error that may have ended it."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"FROM {LEDGER}._meta.state, {CURRENT}._meta.state").fetchall()
        except duckdb.Error:
            return False
        return True

    @contextlib.contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one connection that writes histories; one thread at a time may use it."""
        with self._using():
            yield self._writer

    @contextlib.contextmanager
    def merger(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one connection that writes bases while the feed goes on; one thread at a time may use it."""
        with self._using():
            yield self._merger

    @contextlib.contextmanager
    def parser(self) -> Iterator[Parser]:
        """The parser."""
        with self._using():
            yield self._parser

    @contextlib.contextmanager
    def reader(self, time_ms_max: int,
               front: Callable[[str], Iterable[str]] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in a read-only transaction, for one statement of at most ``time_ms_max`` milliseconds.

        ``front``, if given, returns the statements that define what stands in front of the ledger, in the database
        whose name it is given; names are then looked up there, and not in the ledger.
        Errors within the block are translated as ``answering`` says.
        """
        with self._using():
            reader = Reader(self._connection.cursor())
            catalog = CURRENT
            timer = threading.Timer(time_ms_max / 1000, reader.interrupt, ("sql.timeout",))
            timer.daemon = True
            with self._changing:
                self._readers.add(reader)
                if front is not None:
                    self._fronts += 1
                    catalog = f"_front{self._fronts}"
            timer.start()
            try:
                with answering(reader, time_ms_max):
                    if front is not None:
                        reader.cursor.execute(f"ATTACH ':memory:' AS {catalog}")
                        for statement in front(catalog):
                            reader.cursor.execute(statement)
                    reader.cursor.execute(f"USE {catalog}")
                    reader.cursor.execute("BEGIN TRANSACTION READ ONLY")
                    yield reader.cursor
            finally:
                timer.cancel()
                with self._changing:
                    self._readers.discard(reader)
                reader.cursor.close()
                if front is not None:
                    with contextlib.suppress(duckdb.Error), self._connection.cursor() as cursor:
                        cursor.execute(f"DETACH DATABASE IF EXISTS {quoted(catalog)}")

    def interrupt(self, code: str) -> None:
        """End every reader's running statement with an error of ``code``."""
        with self._changing:
            readers = list(self._readers)
        for reader in readers:
            reader.interrupt(code)

    def interrupt_merger(self) -> None:
        """End a merge, if one is running; nothing of it is kept."""
        self._merger.interrupt()

    def close(self) -> None:
        """Wait for the last thread, and release the file."""
        with self._changing:
            self._closed = True
            while self._users:
                self._changing.wait()
            self._connection.close()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(error: BaseException) -> str:
    return str(error)[:MESSAGE_CHARS_MAX]


def unavailable(message: str) -> GuildbookError:
    """The error for views that cannot answer now."""
    return GuildbookError("views.unavailable", message, hint="try again shortly")


def corrupt(path: Path, error: BaseException) -> GuildbookError:
    """The error for a damaged file."""
    return GuildbookError("views.corrupt", f"the views at {path} are damaged: {_text(error)}",
                          hint="delete them and let the node build them again from the blocks",
                          path=str(path))


def _is_full(error: duckdb.Error) -> bool:
    return any(reason in str(error) for reason in _FULL)


def _full(path: Path, error: BaseException) -> GuildbookError:
    return GuildbookError("store.full", f"there is no room for the views at {path}: {_text(error)}",
                          hint="free space on the volume; the views go on from their last height", path=str(path))


@contextlib.contextmanager
def transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A transaction on a connection that writes, which is kept if the block ends well."""
    try:
        cursor.execute("BEGIN TRANSACTION")
    except duckdb.TransactionException:
        cursor.execute("ROLLBACK")  # the one before failed for want of memory, and found none to be rolled back either
        cursor.execute("BEGIN TRANSACTION")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            cursor.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Errors of opening the file: ``store.locked``, ``store.full``, ``store.io``, ``views.corrupt``."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        if "Could not set lock on file" in text or "already attached" in text:
            raise GuildbookError("store.locked", f"another process has the views at {path} open",
                                 hint="stop the other node, or ask it", path=str(path)) from error
        if _is_full(error):
            raise _full(path, error) from error
        if "Permission denied" in text or not path.parent.is_dir() or path.is_dir():
            raise GuildbookError("store.io", f"the views at {path} cannot be opened: {_text(error)}",
                                 hint="check the folder and its permissions", path=str(path)) from error
        raise corrupt(path, error) from error


@contextlib.contextmanager
def feeding(path: Path) -> Iterator[None]:
    """Errors of writing: ``store.full``, ``store.io``, ``views.corrupt``, and ``views.unavailable`` for the rest; those
    that end the database object, and want of memory, pass.
    """
    try:
        yield
    except (*_BROKEN, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        if _is_full(error):
            raise _full(path, error) from error
        if _is_damage(error):
            raise corrupt(path, error) from error
        if isinstance(error, duckdb.IOException):
            raise GuildbookError("store.io", f"the views at {path} could not be written: {_text(error)}",
                                 hint="check the volume of the views", path=str(path)) from error
        raise unavailable(f"the views at {path} could not be written: {_text(error)}") from error


@contextlib.contextmanager
def answering(reader: Reader, time_ms_max: int) -> Iterator[None]:
    """Errors of a statement, as ``Views.query`` lists them; those that end the database object pass."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise _interrupted(reader, time_ms_max) from error
    except _BROKEN:
        raise
    except duckdb.Error as error:
        raise _answered(error) from error
    except OSError as error:
        # What the database reports while rows are drawn as Arrow comes as an error of the system, without number.
        if error.errno is not None:
            raise
        if "INTERRUPT" in str(error):
            raise _interrupted(reader, time_ms_max) from error
        kind = next((kind for prefix, kind in _DRAWN.items() if str(error).startswith(prefix)), duckdb.DataError)
        raise _answered(kind(str(error))) from error


def _interrupted(reader: Reader, time_ms_max: int) -> GuildbookError:
    match reader.interrupted_by:
        case "sql.too_large":
            return GuildbookError("sql.too_large", "the statement was ended: following the chain needs its memory",
                                  hint="narrow it, or try again when the node has less to do")
        case "views.unavailable":
            return unavailable("the views are closing")
        case _:
            return GuildbookError("sql.timeout", f"the statement took more than {time_ms_max} ms",
                                  hint="narrow it, or export the table and query the export", time_ms_max=time_ms_max)


def _answered(error: duckdb.Error) -> GuildbookError:
    if isinstance(error, duckdb.OutOfMemoryException) or (_is_full(error) and isinstance(error, duckdb.IOException)):
        return GuildbookError("sql.too_large", "the statement needs more memory or temporary disk than it may use",
                              hint="group or sort fewer rows, or export the table and query the export")
    if _is_damage(error):
        return GuildbookError("views.corrupt", f"the views are damaged: {_text(error)}",
                              hint="delete them and let the node build them again from the blocks")
    if isinstance(error, duckdb.IOException):
        return GuildbookError("store.io", f"the views could not be read, or not worked on: {_text(error)}",
                              hint="check the volume of the views")
    if isinstance(error, duckdb.PermissionException) or "read-only mode" in str(error):
        return GuildbookError("sql.not_allowed", f"the statement does more than read: {_text(error)}",
                              hint="send one SELECT over the tables that SHOW TABLES lists")
    if isinstance(error, _WRONG) or "arameter" in str(error).partition("\n")[0]:
        return GuildbookError("sql.syntax", _text(error), hint="correct the statement where the message says")
    return GuildbookError("sql.failed", _text(error), hint="correct the value, or guard it with TRY_CAST or NULLIF")


def _is_damage(error: duckdb.Error) -> bool:
    """Whether the database says that its file is not as it was written. A reader's text cannot begin a message."""
    return isinstance(error, duckdb.SerializationException) or str(error).startswith("Corrupt database file")
