"""The measured targets: `make bench` prints a table and writes bench/results.json."""
