"""The rules of the grid: frozen values and pure functions.  No IO, no clock, no randomness that is not passed in."""
