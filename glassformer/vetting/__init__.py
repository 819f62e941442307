"""Models that nobody vouches for, read in a process of their own before they are let in."""
