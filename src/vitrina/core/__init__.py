"""Nouns of the house: what an event, a profile, an offer or a decision *is*. No input or output here."""
