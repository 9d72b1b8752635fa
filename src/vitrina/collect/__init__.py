"""What comes in: wire format, tracking plan, acceptance, identity, profiles."""
