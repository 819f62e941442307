"""A recording that needs no server: as a folder for any static host, or as one HTML file that opens from a disk."""
