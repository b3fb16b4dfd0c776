"""Tests of corpgrid.transport."""
