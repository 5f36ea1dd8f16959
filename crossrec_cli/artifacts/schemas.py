"""Every Parquet schema, once. Readers and writers take them from here."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from crossrec_cli.artifacts import columns as c

_time = pa.timestamp("us")  # Spark refuses nanoseconds in Parquet

INTERACTIONS = pa.schema(
    {
        c.USER_INDEX: pa.int32(),
        c.POSITION: pa.int32(),  # row of the user's history, oldest first, from 0
        c.ITEM_INDEX: pa.int32(),
        c.PLATFORM: pa.string(),
        c.PLATFORM_USER_ID: pa.string(),  # as the platform writes it
        c.PLATFORM_ITEM_ID: pa.string(),  # as the platform writes it
        c.TIMESTAMP: _time,  # null where only an order is known
        c.EVENT: pa.string(),
        c.QUANTITY: pa.float64(),
        c.RATING: pa.float64(),
        c.WEIGHT: pa.float32(),  # how much it counts; below 0: a dislike
        c.SPLIT: pa.string(),  # train | valid: held out for validation alone | held_out | disliked
    }
)
ITEMS = pa.schema(
    {
        c.ITEM_INDEX: pa.int32(),
        c.ITEM_ID: pa.string(),
        c.PLATFORM: pa.string(),
        c.DOMAIN: pa.string(),  # source | target
        c.CATEGORY: pa.string(),  # from wide to narrow, with " > " between
        c.BRAND: pa.string(),
        c.PRICE: pa.float64(),
        c.PRICE_BAND: pa.string(),  # low | middle | high third of the prices in its widest category
        c.LANGUAGE: pa.string(),  # as given, else as detected, ISO 639-1
        c.TEXT: pa.string(),
    }
)
USERS = pa.schema(
    {
        c.USER_INDEX: pa.int32(),
        c.USER_ID: pa.string(),  # null, with no interactions: a user who was forgotten
        c.PLATFORM: pa.string(),
        c.TAGS: pa.list_(pa.string()),  # "column=value"
        c.ACTIVITY: pa.int32(),  # interactions that train
        c.RECENCY_DAYS: pa.float64(),  # from the latest of them to the latest of all users
    }
)
CASES = pa.schema(  # one row per held-out interaction: how much history is given, and the item to find
    {
        c.SPLIT: pa.string(),  # valid | test
        c.USER_INDEX: pa.int32(),
        c.ITEM_INDEX: pa.int32(),
        c.HISTORY_LENGTH: pa.int32(),  # the user's first so many interactions are given
        c.TARGET_HISTORY_LENGTH: pa.int32(),  # how many of those are in the target
        c.COLD_USER: pa.bool_(),  # none of them is in the target
        c.COLD_ITEM: pa.bool_(),  # nobody has the item in training
    }
)
QUALITY = pa.schema(  # one measure of the data a row; quality_measures.py makes them
    {c.MEASURE: pa.string(), c.LABEL: pa.string(), c.OTHER: pa.string(), c.VALUE: pa.float64()}
)
REJECTED = pa.schema(
    {
        c.TABLE: pa.string(),  # interactions | items | users
        c.FILE: pa.string(),
        c.ROW: pa.int64(),  # of the file's data, from 1
        c.REASON: pa.string(),
    }
)
ITEM_LINKS = pa.schema(
    {
        c.ITEM_ID: pa.string(),
        "other_item_id": pa.string(),
        "confidence": pa.float64(),  # 0 to 1
        "applied": pa.bool_(),
        c.TEXT: pa.string(),
        "other_text": pa.string(),
    }
)
LISTINGS = pa.schema(  # the platforms' ids of the items; written if there are several platforms or links
    {c.PLATFORM: pa.string(), c.PLATFORM_ITEM_ID: pa.string(), c.ITEM_INDEX: pa.int32()}
)
TAG_NAMES = pa.schema({c.TAG: pa.string()})  # in the order of the model's tag vectors
FUSION = pa.schema(  # one row a feature and length of target history; in log-odds for each unit of the feature's score
    {
        c.SCORER: pa.string(),  # null: the shift, which is added to all scores of a user
        c.VARIANT: pa.int32(),  # of the scorer: which of those that were tried was the best, from 0
        c.FEATURE: pa.string(),
        c.DECAY: pa.float32(),  # how much a purchase counts compared with the next one, if the feature has a decay
        c.TARGET_HISTORY_LENGTH: pa.int32(),  # between two of them, weights are interpolated by log(1 + length)
        c.WEIGHT: pa.float32(),
        c.SPREAD: pa.float32(),  # of the feature's scores over a user's candidates; times the weight: its influence
    }
)
TERMS = pa.schema({c.SCORER: pa.string(), c.TERM: pa.string()})  # in the order of the scorer's dimensions
LEARNING = pa.schema(  # learning_curve.parquet, one row an epoch
    {
        c.EPOCH: pa.int32(),
        "loss": pa.float64(),
        "learning_rate": pa.float64(),
        "seconds": pa.float64(),
        "users_per_second": pa.float64(),
        "peak_memory_bytes": pa.int64(),
    }
)
METRICS = pa.schema(
    {
        c.MODEL: pa.string(),
        c.SEGMENT: pa.string(),  # all, and parts of it
        c.METRIC: pa.string(),
        c.K: pa.int32(),
        c.VALUE: pa.float64(),
        c.LOW: pa.float64(),  # its 95 % interval over cases; null where it is no mean over them
        c.HIGH: pa.float64(),
        c.N: pa.int64(),  # cases that it is computed from
    }
)
SIGNIFICANCE = pa.schema(  # crossrec compared with each other model, on the same cases
    {
        c.MODEL: pa.string(),
        c.METRIC: pa.string(),
        c.K: pa.int32(),
        c.GAIN: pa.float64(),  # mean difference: crossrec minus the model
        c.GAIN_LOW: pa.float64(),
        c.GAIN_HIGH: pa.float64(),
        c.P: pa.float64(),  # Wilcoxon's signed-rank test
        c.P_HOLM: pa.float64(),  # the same, after Holm's correction for several models
        c.N: pa.int64(),
    }
)
EXAMPLES = pa.schema(  # some test users: what each did, and what crossrec would have shown then
    {
        c.USER_ID: pa.string(),
        "kind": pa.string(),  # history, newest first | list, best first
        c.RANK: pa.int32(),  # from 1
        c.TEXT: pa.string(),
        c.DOMAIN: pa.string(),
        "hit": pa.bool_(),  # of a list: whether it is a test item
    }
)
FEEDBACK = pa.schema(  # rewards of the lists that were shown, and estimates of the rewards of crossrec's lists
    {
        "reward": pa.string(),  # click | purchase | rating
        c.SEGMENT: pa.string(),
        c.K: pa.int32(),
        c.MEASURE: pa.string(),  # logged | ips | snips
        c.VALUE: pa.float64(),
        c.LOW: pa.float64(),
        c.HIGH: pa.float64(),
        "effective": pa.float64(),  # effective number of impressions: how many of equal weight would be as exact
        "impressions": pa.int64(),
    }
)
ACCURACY = pa.schema(  # of the interest score, over pairs of a user and an item
    {
        c.DOMAIN: pa.string(),
        c.SEGMENT: pa.string(),  # "all", or users by their target history, or items that nobody bought in training
        "auc": pa.float64(),
        "log_loss": pa.float64(),
        "base_log_loss": pa.float64(),  # log loss if every pair had the same probability, the share bought
        "brier": pa.float64(),
        "expected_calibration_error": pa.float64(),
        "pairs": pa.int64(),
        "bought": pa.int64(),
    }
)
CALIBRATION = pa.schema(  # one row a bin of pairs of user and item; the same number of purchases is expected of each
    {
        "predicted": pa.float64(),  # mean probability
        "observed": pa.float64(),  # share bought
        "pairs": pa.int64(),
    }
)
SOURCE_SHARE = pa.schema(  # how much of what histories add to the scores in crossrec's lists of 10 is of the source
    {
        c.SEGMENT: pa.string(),  # "all", or users by their target history
        c.SOURCE_CATEGORY: pa.string(),  # of source purchases; null: of all
        c.CATEGORY: pa.string(),  # of the listed items; null: of all
        c.SHARE: pa.float64(),  # the mean of source_share; of a pair of categories below 0: it lowers the scores
        c.LOW: pa.float64(),  # its 95 % interval over users; null for a pair
        c.HIGH: pa.float64(),
        c.N: pa.int64(),  # users; of a pair: listed items
    }
)
TRANSFER = pa.schema(  # one row a segment and control; means over seeds
    {
        c.SEGMENT: pa.string(),
        c.CONTROL: pa.string(),
        "hr@10": pa.float64(),
        "ndcg@10": pa.float64(),
        c.GAIN: pa.float64(),  # in NDCG@10, compared with the target only
        c.GAIN_LOW: pa.float64(),  # its 95 % interval over users
        c.GAIN_HIGH: pa.float64(),
        c.N: pa.int64(),  # cases
        c.SEEDS: pa.int32(),
    }
)
TRIALS = pa.schema(  # trials.parquet, the best first
    {
        "trial": pa.int32(),  # from 1, in the order in which they began
        "state": pa.string(),  # complete | fail
        "valid_ndcg@10": pa.float64(),  # null unless complete
        "seconds": pa.float64(),
        "values": pa.string(),  # of the tuned fields, as JSON
        "problem": pa.string(),  # why it failed
    }
)
RECOMMENDATIONS = pa.schema(
    {
        c.USER_ID: pa.string(),
        c.RANK: pa.int32(),
        c.ITEM_ID: pa.string(),
        c.SCORE: pa.float32(),
        c.SOURCE_SHARE: pa.float32(),  # |from_source| / (|from_source| + |from_target|); null: the history adds nothing
        c.PRICE: pa.float64(),
        c.TEXT: pa.string(),
    }
)
FOUND = pa.schema(  # results of searches, one row an item of a query's list
    {
        c.QUERY: pa.string(),
        c.USER_ID: pa.string(),  # null: an unknown user
        c.RANK: pa.int32(),
        c.ITEM_ID: pa.string(),
        c.DOMAIN: pa.string(),
        c.PRICE: pa.float64(),
        c.RELEVANCE: pa.float32(),  # what the text adds to the score
        c.INTEREST: pa.float32(),  # a probability; null in the source, where it is not calibrated
        c.SCORE: pa.float32(),
        c.TEXT: pa.string(),
    }
)
SIMILAR = pa.schema(  # one row an item of another item's list
    {
        c.ITEM_ID: pa.string(),
        c.RANK: pa.int32(),
        c.SIMILAR_ITEM_ID: pa.string(),
        c.SCORE: pa.float32(),  # the probability that somebody who has only item_id buys it
        c.KIND: pa.string(),  # bought together | in addition | reads alike | instead
        c.TEXT: pa.string(),  # of the similar item
    }
)
AUDIENCE = pa.schema(  # one row a user, the likeliest buyer first
    {
        c.USER_ID: pa.string(),
        c.RANK: pa.int32(),
        c.SCORE: pa.float32(),  # the probability that the user buys one of the items
        c.ITEM_ID: pa.string(),  # the one that the user is likeliest to buy; null: a text
        c.BECAUSE: pa.string(),  # why, if recommend.reasons is above 0
    }
)
IMPRESSIONS = pa.schema(
    {
        c.IMPRESSION: pa.string(),  # the list, `shown_as` in the server's answer
        c.TIMESTAMP: _time,  # in UTC
        c.VARIANT: pa.string(),  # `serve.variant`, or the id of the model
        c.USER_ID: pa.string(),  # null: anonymous
        c.K: pa.int32(),  # how many items were asked for
        c.RANK: pa.int32(),  # as shown, from 1
        c.ITEM_ID: pa.string(),
        c.PROPENSITY: pa.float64(),  # the probability that this item is shown at this rank, above 0
        c.CLICK: pa.int8(),  # 0 | 1
        c.PURCHASE: pa.int8(),  # 0 | 1
    }
)
BLEND = pa.schema(  # weights of the parts of a search's score, and how well each choice ranks the purchases
    {
        "blend": pa.string(),  # tuned | without interest | default | only meaning, words or interest
        "meaning": pa.float64(),  # these three are the weights
        "words": pa.float64(),
        c.INTEREST: pa.float64(),
        "ndcg@10": pa.float64(),  # over pairs of a query and a purchase that were not used to tune
        c.LOW: pa.float64(),
        c.HIGH: pa.float64(),
        c.N: pa.int64(),
        c.USED: pa.bool_(),  # whether searches use these weights
    }
)
WHY = pa.schema(  # further columns of recommendations.parquet if recommend.reasons is above 0
    {
        c.REASONS: pa.list_(  # the history items that raise the score most
            pa.struct(
                {
                    c.ITEM_ID: pa.string(),
                    c.DOMAIN: pa.string(),
                    c.SCORER: pa.string(),  # the scorer with the largest share of it
                    c.PART: pa.float32(),  # of the score as log-odds
                    c.SHARE: pa.float32(),  # of all that raises the score in the history
                }
            )
        ),
        c.FROM_SOURCE: pa.float32(),  # what source purchases add; these four add up to the score as log-odds
        c.FROM_TARGET: pa.float32(),  # what target purchases add
        c.FROM_SALES: pa.float32(),  # popularity, and the constant terms
        c.FROM_REST: pa.float32(),  # tags, and what belongs to no single interaction
        c.BY_SCORER: pa.list_(pa.struct({c.SCORER: pa.string(), c.PART: pa.float32()})),  # the same by scorer
        c.IN_COMMON: pa.list_(pa.string()),  # brand, category and words that it shares with the reasons
        c.BECAUSE: pa.string(),
    }
)


def embeddings(width: int) -> pa.Schema:
    """item_text.parquet: the language model's embedding of each item's text, ``width`` float32."""
    return pa.schema({c.ITEM_INDEX: pa.int32(), c.EMBEDDING: pa.list_(pa.float32(), width)})


def cached_embeddings(width: int) -> pa.Schema:
    """A language model's embeddings; the key is the first 16 bytes of the text's sha256."""
    return pa.schema({c.TEXT_HASH: pa.binary(16), c.EMBEDDING: pa.list_(pa.float32(), width)})


def per_user(metrics: Sequence[str]) -> pa.Schema:
    """per_user.parquet: one row per model and user, a column per metric such as ``ndcg@10``."""
    head = {
        c.MODEL: pa.string(),
        c.USER_ID: pa.string(),
        c.HISTORY_LENGTH: pa.int32(),
        c.TARGET_HISTORY_LENGTH: pa.int32(),
    }
    return pa.schema(head | dict.fromkeys(metrics, pa.float64()))
