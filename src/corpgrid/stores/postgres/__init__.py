"""The store on PostgreSQL: shared by equal schedulers; a tick is a pipeline of statements over arrays."""
