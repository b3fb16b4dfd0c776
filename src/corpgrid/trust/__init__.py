"""Digests, keys and signed things; pure given bytes: no files, no sockets, no clock."""
