"""The same pipeline for several seeds or update rules (docs/sweep.md)."""
