"""The whole boundary of the grid in one room: what the rules need from the world, as Protocols.

Adapters stand in the rooms above (``stores``, ``blobs``, ``transport``, ``host``, ``runner``), and only ``compose``
names one.  Each port has one contract suite in ``tests/contracts`` that all of its adapters pass.
"""
