"""The forms in which models lie on disks, one file each: how each is recognised, measured and read."""
