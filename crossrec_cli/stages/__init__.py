"""The stages. Each is one function ``run(job)`` that loads, computes and writes its files to ``job.out``."""
