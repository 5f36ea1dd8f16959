"""The subcommands of ``crossrec``, one module for each group; cli.py combines them."""
