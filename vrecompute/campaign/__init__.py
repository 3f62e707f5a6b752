"""Campaigns: wanted state in YAML, done state in a ledger, and a tick that closes the difference."""
