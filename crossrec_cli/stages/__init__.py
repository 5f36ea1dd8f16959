"""The stages. Each is one function ``run(job)`` that loads, computes and leaves its files in ``job.out``."""
