"""Every column name and every Parquet schema, once. Readers and writers take them from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.errors import ArtifactError

USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
USER_INDEX: Final = "user_index"
ITEM_INDEX: Final = "item_index"
PLATFORM: Final = "platform"
POSITION: Final = "position"
TIMESTAMP: Final = "timestamp"
ORDER: Final = "order"
EVENT: Final = "event"
VALUE: Final = "value"
SPLIT: Final = "split"
HISTORY_LENGTH: Final = "history_length"
TARGET_HISTORY_LENGTH: Final = "target_history_length"
DOMAIN: Final = "domain"
CATEGORY: Final = "category"
BRAND: Final = "brand"
PRICE: Final = "price"
LANGUAGE: Final = "language"
TEXT: Final = "text"
TAGS: Final = "tags"
TAG: Final = "tag"
EMBEDDING: Final = "embedding"
RANK: Final = "rank"
SCORE: Final = "score"
STEP: Final = "step"
MODEL: Final = "model"
METRIC: Final = "metric"
K: Final = "k"
EPOCH: Final = "epoch"

SOURCE: Final = "source"
TARGET: Final = "target"
TRAIN: Final = "train"
VALID: Final = "valid"
TEST: Final = "test"
HELD_OUT: Final = "held_out"

_time = pa.timestamp("us")  # Spark refuses nanoseconds in Parquet

INTERACTIONS = pa.schema(
    {
        USER_INDEX: pa.int32(),
        POSITION: pa.int32(),  # place in the user's history, oldest first, from 0
        ITEM_INDEX: pa.int32(),
        PLATFORM: pa.string(),
        TIMESTAMP: _time,  # null where only an order is known
        EVENT: pa.string(),
        VALUE: pa.float64(),
        SPLIT: pa.string(),  # train | held_out; the train rows are the beginning of each history
    }
)
ITEMS = pa.schema(
    {
        ITEM_INDEX: pa.int32(),
        ITEM_ID: pa.string(),
        PLATFORM: pa.string(),
        DOMAIN: pa.string(),  # source | target
        CATEGORY: pa.string(),
        BRAND: pa.string(),
        PRICE: pa.float64(),
        LANGUAGE: pa.string(),
        TEXT: pa.string(),
    }
)
USERS = pa.schema(
    {
        USER_INDEX: pa.int32(),
        USER_ID: pa.string(),
        PLATFORM: pa.string(),
        TAGS: pa.list_(pa.string()),  # "column=value"
    }
)
CASES = pa.schema(  # one row per held-out interaction: the history that is given, and the item to be found
    {
        SPLIT: pa.string(),  # valid | test
        USER_INDEX: pa.int32(),
        ITEM_INDEX: pa.int32(),
        HISTORY_LENGTH: pa.int32(),  # the user's first so many interactions are given
    }
)
QUALITY = pa.schema({STEP: pa.string(), "interactions": pa.int64(), "users": pa.int64(), "items": pa.int64()})
TAG_NAMES = pa.schema({TAG: pa.string()})  # in the order of the model's tag vectors
LEARNING = pa.schema(  # history.parquet, one row an epoch
    {
        EPOCH: pa.int32(),
        "loss": pa.float64(),
        "learning_rate": pa.float64(),
        "valid_ndcg@10": pa.float64(),  # null in pretrain-adapt
        "seconds": pa.float64(),
        "users_per_second": pa.float64(),
    }
)
METRICS = pa.schema({MODEL: pa.string(), METRIC: pa.string(), K: pa.int32(), VALUE: pa.float64(), "cases": pa.int64()})
RECOMMENDATIONS = pa.schema(
    {USER_ID: pa.string(), RANK: pa.int32(), ITEM_ID: pa.string(), SCORE: pa.float32(), TEXT: pa.string()}
)


def embeddings(width: int) -> pa.Schema:
    """item_text.parquet: the language model's embedding of each item's text, ``width`` float32."""
    return pa.schema({ITEM_INDEX: pa.int32(), EMBEDDING: pa.list_(pa.float32(), width)})


def per_user(metrics: Sequence[str]) -> pa.Schema:
    """per_user.parquet: one row per model and user, a column per metric such as ``ndcg@10``."""
    head = {
        MODEL: pa.string(),
        USER_ID: pa.string(),
        HISTORY_LENGTH: pa.int32(),
        TARGET_HISTORY_LENGTH: pa.int32(),
    }
    return pa.schema(head | dict.fromkeys(metrics, pa.float64()))


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, object]) -> None:
    """Write columns (arrays or lists, all of one length) as one Parquet file."""
    pq.write_table(pa.table(dict(columns)).select(schema.names).cast(schema), path, compression="zstd")


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file of ours.

    Raises:
        ArtifactError: if it cannot be read or lacks a column.
    """
    try:
        return pq.read_table(path, columns=columns and list(columns))
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
