"""Peers side by side on one task, run by hand or nightly."""
