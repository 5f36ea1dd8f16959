"""The stages in their order, and what of them has to run."""
