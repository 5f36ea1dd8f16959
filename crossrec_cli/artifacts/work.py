"""The making of an artifact: when it began, what it costs, and the versions of the libraries."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from platform import python_version
from typing import Any

from crossrec_cli.artifacts.store import FORMAT_VERSION, FileEntry, Manifest, new_id
from crossrec_cli.runtime.progress import peak_memory

LIBRARIES = ("crossrec", "torch", "transformers", "duckdb", "ibis-framework", "pyarrow", "numpy")


class Work:
    """Measures time from when it is created."""

    def __init__(self) -> None:
        self.started, self.wall, self.cpu = datetime.now(UTC), time.perf_counter(), time.process_time()

    def manifest(
        self,
        stage: str,
        stage_version: int,
        digest: str,
        config: dict[str, Any],
        inputs: dict[str, str],
        files: dict[str, FileEntry],
        summary: dict[str, Any],
        seed: int,
    ) -> Manifest:
        """The manifest of the artifact, with the cost so far. Equal sources have an equal ``digest``."""
        return Manifest(
            format_version=FORMAT_VERSION,
            stage=stage,
            stage_version=stage_version,
            id=new_id(digest),
            config=config,
            inputs=inputs,
            files=files,
            summary=summary,
            versions={"python": python_version()} | _versions(),
            seed=seed,
            started=self.started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - self.wall, 3),
            cpu_seconds=round(time.process_time() - self.cpu, 3),
            peak_memory_bytes=peak_memory(),
        )


@cache
def _versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}
