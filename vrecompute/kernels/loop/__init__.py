"""How an `EventLoop` becomes one compiled function: its source is read, rewritten, generated and kept."""
