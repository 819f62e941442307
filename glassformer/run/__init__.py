"""One run, one owner: its tokens, its recording, what was changed in it, and any site of it on demand."""
