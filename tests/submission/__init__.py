"""The submission protocol: crash points, faults, bad records, and its pure rules."""
