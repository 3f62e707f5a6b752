"""How YAML files that users write become frozen dataclasses: one dialect, and every mistake at once with its place."""
