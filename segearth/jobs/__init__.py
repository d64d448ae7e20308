"""What long work needs, whatever it works on: tasks for workers, a ledger of what is done, shares, locks."""
