"""What ``corpgrid up`` passes on of what its agents say, and what an agent's process does not load."""

from __future__ import annotations

import json
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from corpgrid.compose.up import _Said
from corpgrid.errors import SandboxError
from corpgrid.sdk.child_error import SAID_BYTES, child_error

ERROR = json.dumps({"error": "sandbox", "message": "no gate holds", "remedy": "Open one.", "exit": 6}).encode() + b"\n"
LINES = st.lists(st.sampled_from([b"", b"{", b"{}", b"INFO it starts", b'{"error": 1}', ERROR.strip()])).map(b"\n".join)


def passed_on(said: _Said, text: bytes, *, pieces: int) -> bytes:
    heard = b"".join(said.hear(text[start : start + pieces]) for start in range(0, len(text), pieces))
    return heard + said.rest()


@given(LINES.map(lambda text: text and text + b"\n"), st.integers(1, 200))
def test_everything_is_passed_on_but_the_error_at_the_end(text: bytes, pieces: int) -> None:
    said = _Said()
    assert passed_on(said, text + ERROR, pieces=pieces) == text
    error = child_error(said.text, "agent 1 ended")
    assert type(error) is SandboxError
    assert (str(error), error.remedy) == ("agent 1 ended: no gate holds", "Open one.")
    assert passed_on(_Said(), text + ERROR + b"INFO\n", pieces=pieces) == text + ERROR + b"INFO\n"


def test_a_line_without_end_is_not_waited_for() -> None:
    said, line = _Said(), b"{" * (4 * SAID_BYTES)
    passed = sum(len(said.hear(line[start : start + 1000])) for start in range(0, len(line), 1000))
    assert len(line) - passed <= SAID_BYTES


def test_an_agents_program_loads_no_scheduler() -> None:
    """It starts in half the time, on every machine that lends itself."""
    program = (
        "import sys\n"
        "from corpgrid.cli.daemon_commands import serve\n"
        "async def work(stop):\n"
        "    import corpgrid.compose.agent\n"
        "    print([name for name in sys.modules if name.startswith(('corpgrid.scheduler', 'sqlite3'))])\n"
        "serve(work, with_parent=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
