"""Rules and records: permission, consent, access, audit, erasure."""
