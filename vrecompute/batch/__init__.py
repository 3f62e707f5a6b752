"""What every driver of a batch system shares: the contract, and the machinery around jobs that hold workers."""
