"""The model as one document, and what its checks found."""
