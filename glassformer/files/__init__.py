"""What lies on a disk or a hub, and whether it may be opened. Knows no torch."""
