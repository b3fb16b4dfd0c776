"""The rules of the house, as tests: they read the tree and need nothing that runs."""
