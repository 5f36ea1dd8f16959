"""``python -m crossrec_cli`` is the ``crossrec`` command."""

from crossrec_cli.cli import main

main()
