"""Threads that are the first to read a kind of answer, all at once, read it; the process is not ended by it."""

import subprocess
import sys

import msgspec
import pytest

from guildbook.client.reader import LedgerReader
from guildbook.testing import TestLedger
from sample_contract import Units

READ_AT_ONCE = """
import sys, threading
sys.setswitchinterval(1e-6)
from guildbook.client import remote
from guildbook.client.catalogue import CatalogueDocument

class Response:
    content, url, status_code = sys.stdin.buffer.read(), "", 200

threads = 12
begin = threading.Barrier(threads)
read = []

def go():
    begin.wait()
    read.append(remote._decoded(Response, CatalogueDocument))

those = [threading.Thread(target=go) for _ in range(threads)]
for one in those:
    one.start()
for one in those:
    one.join()
sys.exit(0 if len(read) == threads and all(one == read[0] for one in read) else 1)
"""


@pytest.mark.parametrize("turn", range(4))
def test_a_catalogue_is_read_by_many_threads_at_once(turn):
    body = msgspec.json.encode(LedgerReader(TestLedger(Units).ledger).catalogue())
    done = subprocess.run([sys.executable, "-c", READ_AT_ONCE], input=body, capture_output=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2_000:])
