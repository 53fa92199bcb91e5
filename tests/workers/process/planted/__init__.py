"""Mistakes for `runworker --check` to find, one a file. Nothing here may be imported by another test."""
