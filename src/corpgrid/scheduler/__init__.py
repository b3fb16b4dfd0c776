"""The scheduler: shells around the rules of the grid.  Events in, one transaction a tick, answers after the commit."""
