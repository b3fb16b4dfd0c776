"""What every store promises, written once.

To run it on a store of your own, give it a fixture ``clock`` (a ``store_rows.FakeClock``) and a fixture ``store``, open
and empty, that was made with ``store_rows.settings(clock)``:

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self, clock): ...
"""

from __future__ import annotations

from tests.contracts.store_devices import AuditLog, Devices
from tests.contracts.store_ends import Ends, Results
from tests.contracts.store_jobs import Jobs, Ready
from tests.contracts.store_leases import Leases, Sweep
from tests.contracts.store_ledger import Ledger
from tests.contracts.store_retention import Retention


class StoreContract(Jobs, Ready, Leases, Sweep, Results, Ends, Retention, Devices, AuditLog, Ledger):
    """All promises; a topic a file."""
