"""Decide: from what is on offer and who is asking to one answer, with its exact chances in the decision log."""
