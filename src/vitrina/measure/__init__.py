"""What it was worth: read-outs against the holdout, from the log and the lake."""
