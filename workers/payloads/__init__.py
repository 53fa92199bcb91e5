"""What crosses the wire to Temporal: typed JSON, compression, encryption, claim checks and redaction."""
