"""A storm over a real grid: schedulers, PostgreSQL, agents, clients and their connections, from a seeded plan."""
