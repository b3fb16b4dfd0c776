"""``corpgrid bench``: what this grid does on this machine, measured from where a user stands."""
