"""Offers, creatives and placements as JSON on the wire (camelCase), and back: one module a noun."""
