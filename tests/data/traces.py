"""Where people are named below a folder, and what else is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from crossrec_cli.artifacts.store import Store
from crossrec_cli.cli import app


def command(*arguments: object) -> None:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def text_of(path: Path) -> str:
    """All words that stand in a file."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        columns = [table[name].combine_chunks() for name in table.column_names]
        words = [column for column in columns if pa.types.is_string(column.type)]
        return " ".join(word or "" for column in words for word in column.unique().to_pylist())
    return path.read_bytes().decode("latin-1")


def naming(folder: Path, *people: str) -> set[str]:
    """The files below a folder that name one of some people; an artifact's without its own folder."""
    word = re.compile("|".join(rf"(?<![\w-]){re.escape(one)}(?![\w-])" for one in people))
    return {
        "/".join(part for part in path.relative_to(folder).parts if not part[:4].isdigit()).removesuffix("-wal")
        for path in files(folder)
        if word.search(text_of(path)) or word.search(path.name)
    }


def tree(folder: Path) -> dict[str, bytes]:
    """The content of every file, but of what locks."""
    others = [path for path in files(folder) if path.name != ".lock" and not path.name.endswith("-shm")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in others}


def tables(run_dir: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every Parquet file that is in use, or was until its successor came, by stage, age and name."""
    for stage in (path for path in run_dir.iterdir() if path.is_dir() and path.name != "embeddings"):
        for age, artifact in enumerate(Store(run_dir).artifacts(stage.name)):
            for path in sorted(artifact.glob("*.parquet")):
                yield f"{stage.name} {age} {path.name}", pd.read_parquet(path)
    for path in sorted(run_dir.glob("*.parquet")):
        yield path.name, pd.read_parquet(path)
