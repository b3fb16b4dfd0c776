"""``corpgrid demo``: a real job on a whole grid of one machine, with everything that goes wrong in an office."""
