"""The gym: simulated shops whose truth is known, driven through the code that production runs."""
