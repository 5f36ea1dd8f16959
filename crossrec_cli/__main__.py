"""The entry point of ``crossrec`` and of ``python -m crossrec_cli``."""

import gc
import os
import signal


def main() -> None:
    """Be ready for Ctrl-C and SIGTERM, and set up OpenMP, before anything that takes time to import."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job is not for Ctrl-C
            signal.signal(number, lambda *_: os._exit(130))
    # GNU's OpenMP otherwise spins where another process computes, and a training takes three times as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    # Imports leave a million objects that stay. To look through them as often as by default takes a tenth of the time.
    gc.set_threshold(50_000, 20, 50)
    from crossrec_cli import cli  # noqa: PLC0415

    cli.main()


if __name__ == "__main__":
    main()
