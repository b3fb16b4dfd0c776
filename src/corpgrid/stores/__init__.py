"""Where the grid keeps its state: the ``Store`` port in memory and on SQLite.

No rule of the grid lives here.  What all stores have in common, beyond what ``ports.Store`` and ``domain.effects`` say:

* A view holds more than its need where rows point at each other: the job and specification of every task and lease, the
  device of every attempt and lease, and the lease of every live attempt that is in the view.
* Jobs of equal priority and age stand in the order in which they came.
* Effects are applied in the order of their fields; ``extend_leases_seconds`` comes before ``leases``, so that a lease
  in the same effects is what that lease shall be.
* A tick that changed nothing is not written, unless the last one was written a second ago (``last_seen``).
"""
