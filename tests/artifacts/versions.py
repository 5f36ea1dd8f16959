"""An artifact of one text file: write it, read it."""

from __future__ import annotations

from crossrec_cli.artifacts.store import FORMAT_VERSION, Artifact, Manifest, Store, describe_files, new_id


def commit(store: Store, text: str) -> Artifact:
    with store.draft("stage") as draft:
        (draft / "data.txt").write_text(text)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            stage="stage",
            stage_version=1,
            id=new_id("0" * 64),
            config={},
            inputs={},
            files=describe_files(draft),
            summary={},
            versions={},
            seed=0,
            started="now",
            wall_seconds=0.0,
            cpu_seconds=0.0,
            peak_memory_bytes=0,
        )
        return store.commit(draft, manifest)


def content(store: Store) -> str:
    artifact = store.current("stage")
    assert artifact is not None
    return artifact.file("stage/data.txt").read_text()
