"""The console: pages for people, rendered on the server, readable without scripts, in English and Russian."""
