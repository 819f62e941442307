"""What the longer commands of the command line do: they measure and write with the Python handle, and print tables."""
