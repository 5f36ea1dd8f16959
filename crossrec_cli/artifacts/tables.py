"""Every column name and every Parquet schema, once. Readers and writers take them from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
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
ORIGINAL_USER_ID: Final = "original_user_id"
ORIGINAL_ITEM_ID: Final = "original_item_id"
EVENT: Final = "event"
QUANTITY: Final = "quantity"
RATING: Final = "rating"
WEIGHT: Final = "weight"
VALUE: Final = "value"
SPLIT: Final = "split"
HISTORY_LENGTH: Final = "history_length"
TARGET_HISTORY_LENGTH: Final = "target_history_length"
DOMAIN: Final = "domain"
CATEGORY: Final = "category"
BRAND: Final = "brand"
PRICE: Final = "price"
PRICE_BAND: Final = "price_band"
LANGUAGE: Final = "language"
TEXT: Final = "text"
TAGS: Final = "tags"
TAG: Final = "tag"
ACTIVITY: Final = "activity"
RECENCY_DAYS: Final = "recency_days"
COLD_USER: Final = "cold_user"
COLD_ITEM: Final = "cold_item"
EMBEDDING: Final = "embedding"
VECTOR: Final = "vector"
TEXT_HASH: Final = "text_hash"
SEGMENT: Final = "segment"
CONTROL: Final = "control"
GAIN: Final = "gain"
GAIN_LOW: Final = "gain_low"
GAIN_HIGH: Final = "gain_high"
LOW: Final = "low"
HIGH: Final = "high"
P: Final = "p"
P_HOLM: Final = "p_holm"
N: Final = "n"
SEEDS: Final = "seeds"
RANK: Final = "rank"
SCORE: Final = "score"
STEP: Final = "step"
REASON: Final = "reason"
REASONS: Final = "reasons"
PART: Final = "part"
SHARE: Final = "share"
FROM_SOURCE: Final = "from_source"
FROM_TARGET: Final = "from_target"
FROM_SALES: Final = "from_sales"
FROM_REST: Final = "from_rest"
BY_SCORER: Final = "by_scorer"
BIAS: Final = "bias"
IN_COMMON: Final = "in_common"
BECAUSE: Final = "because"
TABLE: Final = "table"
FILE: Final = "file"
ROW: Final = "row"
MEASURE: Final = "measure"
LABEL: Final = "label"
OTHER: Final = "other"
MODEL: Final = "model"
METRIC: Final = "metric"
K: Final = "k"
EPOCH: Final = "epoch"
QUERY: Final = "query"
RELEVANCE: Final = "relevance"
INTEREST: Final = "interest"
USED: Final = "used"
SCORER: Final = "scorer"
FEATURE: Final = "feature"
DECAY: Final = "decay"
GROUP: Final = "group"
SPREAD: Final = "spread"
SHIFT: Final = "shift"
TERM: Final = "term"

REACH: Final = "reach"  # a measure of the data, with these labels
IN_CATALOGUE: Final = "target items in the catalogue"
FOR_SALE: Final = "target items to recommend"
PEOPLE: Final = "people in the data"
SERVED: Final = "people with a list"

CROSSREC: Final = "crossrec"  # among the models
ALL: Final = "all"  # among the segments: every user

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
        ORIGINAL_USER_ID: pa.string(),  # the platform's own
        ORIGINAL_ITEM_ID: pa.string(),
        TIMESTAMP: _time,  # null where only an order is known
        EVENT: pa.string(),
        QUANTITY: pa.float64(),
        RATING: pa.float64(),
        WEIGHT: pa.float32(),  # how much it counts, above 0
        SPLIT: pa.string(),  # train | valid: held out for validation alone | held_out; each history is in this order
    }
)
ITEMS = pa.schema(
    {
        ITEM_INDEX: pa.int32(),
        ITEM_ID: pa.string(),
        PLATFORM: pa.string(),
        DOMAIN: pa.string(),  # source | target
        CATEGORY: pa.string(),  # from wide to narrow, with " > " between
        BRAND: pa.string(),
        PRICE: pa.float64(),
        PRICE_BAND: pa.string(),  # low | middle | high third of the prices in its widest category
        LANGUAGE: pa.string(),  # as given, else as detected, ISO 639-1
        TEXT: pa.string(),
    }
)
USERS = pa.schema(
    {
        USER_INDEX: pa.int32(),
        USER_ID: pa.string(),
        PLATFORM: pa.string(),
        TAGS: pa.list_(pa.string()),  # "column=value"
        ACTIVITY: pa.int32(),  # interactions that train
        RECENCY_DAYS: pa.float64(),  # from the latest of them to the latest of anybody's
    }
)
CASES = pa.schema(  # one row per held-out interaction: the history that is given, and the item to be found
    {
        SPLIT: pa.string(),  # valid | test
        USER_INDEX: pa.int32(),
        ITEM_INDEX: pa.int32(),
        HISTORY_LENGTH: pa.int32(),  # the user's first so many interactions are given
        TARGET_HISTORY_LENGTH: pa.int32(),  # so many of those in the target
        COLD_USER: pa.bool_(),  # none of them is in the target
        COLD_ITEM: pa.bool_(),  # nobody has the item in training
    }
)
QUALITY = pa.schema(  # one measure of the data a row; quality.py says which there are
    {MEASURE: pa.string(), LABEL: pa.string(), OTHER: pa.string(), VALUE: pa.float64()}
)
REJECTED = pa.schema(
    {
        TABLE: pa.string(),  # interactions | items | users
        FILE: pa.string(),
        ROW: pa.int64(),  # of the file's data, from 1
        REASON: pa.string(),
    }
)
ITEM_LINKS = pa.schema(
    {
        ITEM_ID: pa.string(),
        "other_item_id": pa.string(),
        "confidence": pa.float64(),  # 0 to 1
        "applied": pa.bool_(),
        TEXT: pa.string(),
        "other_text": pa.string(),
    }
)
LISTINGS = pa.schema(  # the platforms' own ids of the items, where there are several platforms or links
    {PLATFORM: pa.string(), ORIGINAL_ITEM_ID: pa.string(), ITEM_INDEX: pa.int32()}
)
TAG_NAMES = pa.schema({TAG: pa.string()})  # in the order of the model's tag vectors
FUSION = pa.schema(  # one row a feature and group of users; in log-odds for each unit of the feature's score
    {
        SCORER: pa.string(),  # null: the shift, which is added to all scores of the group
        FEATURE: pa.string(),
        DECAY: pa.float32(),  # how much a purchase counts beside the next one, where it matters
        GROUP: pa.int32(),  # the least target purchases of its users
        WEIGHT: pa.float32(),
        SPREAD: pa.float32(),  # of the feature's scores over a user's candidates: times the weight, what it decides
    }
)
TERMS = pa.schema({SCORER: pa.string(), TERM: pa.string()})  # in the order of the scorer's dimensions
LEARNING = pa.schema(  # history.parquet, one row an epoch
    {
        EPOCH: pa.int32(),
        "loss": pa.float64(),
        "learning_rate": pa.float64(),
        "seconds": pa.float64(),
        "users_per_second": pa.float64(),
        "peak_memory_bytes": pa.int64(),
    }
)
METRICS = pa.schema(
    {
        MODEL: pa.string(),
        SEGMENT: pa.string(),  # all, and parts of it
        METRIC: pa.string(),
        K: pa.int32(),
        VALUE: pa.float64(),
        LOW: pa.float64(),  # its 95 % interval over cases; null where it is no mean over them
        HIGH: pa.float64(),
        N: pa.int64(),  # cases that it says something of
    }
)
SIGNIFICANCE = pa.schema(  # crossrec beside each other model, on the same cases
    {
        MODEL: pa.string(),
        METRIC: pa.string(),
        K: pa.int32(),
        GAIN: pa.float64(),  # mean difference, crossrec's less the model's
        GAIN_LOW: pa.float64(),
        GAIN_HIGH: pa.float64(),
        P: pa.float64(),  # Wilcoxon's signed-rank test
        P_HOLM: pa.float64(),  # the same, raised for there being several models
        N: pa.int64(),
    }
)
EXAMPLES = pa.schema(  # some test users: what each did, and what crossrec would have shown then
    {
        USER_ID: pa.string(),
        "kind": pa.string(),  # history, newest first | list, best first
        RANK: pa.int32(),  # place in it, from 1
        TEXT: pa.string(),
        DOMAIN: pa.string(),
        "hit": pa.bool_(),  # of a list: whether test asked for it
    }
)
FEEDBACK = pa.schema(  # what users thought of what they were shown, and would think of crossrec's lists
    {
        "reward": pa.string(),  # click | purchase | rating
        SEGMENT: pa.string(),
        K: pa.int32(),
        MEASURE: pa.string(),  # logged | ips | snips
        VALUE: pa.float64(),
        LOW: pa.float64(),
        HIGH: pa.float64(),
        "effective": pa.float64(),  # impressions that it rests on, each of weight 1
        "impressions": pa.int64(),
    }
)
ACCURACY = pa.schema(  # of the interest score, over pairs of a user and an item
    {
        DOMAIN: pa.string(),
        SEGMENT: pa.string(),  # "all", or users by their target history, or items that nobody bought in training
        "auc": pa.float64(),
        "log_loss": pa.float64(),
        "base_log_loss": pa.float64(),  # if the same probability were given to all pairs, the share that was bought
        "brier": pa.float64(),
        "expected_calibration_error": pa.float64(),
        "pairs": pa.int64(),
        "bought": pa.int64(),
    }
)
CALIBRATION = pa.schema(  # a bin of pairs of user and item, from each of which equally many purchases are expected
    {
        "predicted": pa.float64(),  # mean probability
        "observed": pa.float64(),  # share bought
        "pairs": pa.int64(),
    }
)
TRANSFER = pa.schema(  # one row a segment and control; means over seeds
    {
        SEGMENT: pa.string(),
        CONTROL: pa.string(),
        "hr@10": pa.float64(),
        "ndcg@10": pa.float64(),
        GAIN: pa.float64(),  # in NDCG@10, over the target alone
        GAIN_LOW: pa.float64(),  # its 95 % interval over users
        GAIN_HIGH: pa.float64(),
        N: pa.int64(),  # cases with something to find
        SEEDS: pa.int32(),
    }
)
TRIALS = pa.schema(  # trials.parquet, the best first
    {
        "trial": pa.int32(),  # from 1, in the order of their beginning
        "state": pa.string(),  # complete | fail
        "valid_ndcg@10": pa.float64(),  # null unless complete
        "seconds": pa.float64(),
        "values": pa.string(),  # of the tuned fields, as JSON
        "problem": pa.string(),  # why it failed
    }
)
RECOMMENDATIONS = pa.schema(
    {
        USER_ID: pa.string(),
        RANK: pa.int32(),
        ITEM_ID: pa.string(),
        SCORE: pa.float32(),
        PRICE: pa.float64(),
        TEXT: pa.string(),
    }
)
FOUND = pa.schema(  # what a search found, one row an item of a query's list
    {
        QUERY: pa.string(),
        USER_ID: pa.string(),  # null: somebody unknown
        RANK: pa.int32(),
        ITEM_ID: pa.string(),
        DOMAIN: pa.string(),
        PRICE: pa.float64(),
        RELEVANCE: pa.float32(),  # what the text adds to the score
        INTEREST: pa.float32(),  # a probability; null in the source, where it is not calibrated
        SCORE: pa.float32(),
        TEXT: pa.string(),
    }
)
BLEND = pa.schema(  # ways to weigh the parts of a search's score, and how well each finds what was bought
    {
        "blend": pa.string(),  # tuned | without interest | default | meaning, words or interest alone
        "meaning": pa.float64(),  # these three are the weights
        "words": pa.float64(),
        INTEREST: pa.float64(),
        "ndcg@10": pa.float64(),  # over pairs of a query and a purchase that nothing was tuned on
        LOW: pa.float64(),
        HIGH: pa.float64(),
        N: pa.int64(),
        USED: pa.bool_(),  # whether this is how searches weigh them
    }
)
WHY = pa.schema(  # recommendations.parquet has these as well where reasons are wanted
    {
        REASONS: pa.list_(  # the history items that speak most for it
            pa.struct(
                {
                    ITEM_ID: pa.string(),
                    DOMAIN: pa.string(),
                    SCORER: pa.string(),  # which makes most of it
                    PART: pa.float32(),  # of the score as log-odds
                    SHARE: pa.float32(),  # of all that speaks for it in the history
                }
            )
        ),
        FROM_SOURCE: pa.float32(),  # these four add up to the score as log-odds
        FROM_TARGET: pa.float32(),
        FROM_SALES: pa.float32(),  # how it sells, and how much is bought at all
        FROM_REST: pa.float32(),  # tags, and what is of no interaction alone
        BY_SCORER: pa.list_(pa.struct({SCORER: pa.string(), PART: pa.float32()})),  # the same by scorer
        IN_COMMON: pa.list_(pa.string()),  # brand, category and words shared with them
        BECAUSE: pa.string(),
    }
)


def embeddings(width: int) -> pa.Schema:
    """item_text.parquet: the language model's embedding of each item's text, ``width`` float32."""
    return pa.schema({ITEM_INDEX: pa.int32(), EMBEDDING: pa.list_(pa.float32(), width)})


def vector_column(vectors: npt.NDArray[np.float32]) -> pa.Array:
    """A float32 matrix as a column of vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def vectors(table: pa.Table) -> npt.NDArray[np.float32]:
    """The column ``EMBEDDING`` as a float32 matrix, in Arrow's own memory, which is read-only."""
    column = table[EMBEDDING].combine_chunks()
    matrix: npt.NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return matrix


def embedding_parts(path: Path) -> Iterator[npt.NDArray[np.float32]]:
    """An item_text.parquet as matrices of some thousand rows each, in Arrow's own memory, which is read-only.

    Raises:
        ArtifactError: if it cannot be read.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # a buffer would hold all that was read
            for batch in file.iter_batches(columns=[EMBEDDING]):
                column = batch[EMBEDDING]
                yield column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        pa.default_memory_pool().release_unused()  # hundreds of megabytes after a large file
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def read_embeddings(path: Path) -> npt.NDArray[np.float32]:
    """The same as one matrix of our own; a million texts are then held once and not twice."""
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
    matrix, begin = np.empty((rows, 0), np.float32), 0
    for part in embedding_parts(path):
        if not begin:
            matrix = np.empty((rows, part.shape[1]), np.float32)
        matrix[begin : begin + len(part)] = part
        begin += len(part)
    return matrix


def places(column: pa.ChunkedArray, known: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """For each value of a column its place among the known ones, −1 where it is none of them."""
    found = pc.fill_null(pc.index_in(column, value_set=known.combine_chunks()), -1)
    number: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return number


def cached_embeddings(width: int) -> pa.Schema:
    """A language model's embeddings by the beginning of their texts' sha256."""
    return pa.schema({TEXT_HASH: pa.binary(16), EMBEDDING: pa.list_(pa.float32(), width)})


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
