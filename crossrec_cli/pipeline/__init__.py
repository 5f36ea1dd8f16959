"""The stages in their order, and which of them must run."""
