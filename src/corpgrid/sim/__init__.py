"""A whole grid under one seed: production schedulers and agents on virtual time, with every fault that can be named."""
