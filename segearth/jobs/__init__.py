"""Long work that is cut into tasks and may be killed: workers, a ledger of finished tasks, shards, locks."""
