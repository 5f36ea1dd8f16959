"""How long crossrec serve takes to answer under load, while the model is swapped.

    python benchmarks/serve.py configs/complete_journey.yaml --set run_dir=runs/wide --rate 50 --seconds 60

The run must be finished. Requests are sent at a fixed rate, whether the earlier ones were answered or not. Of three,
one is for a user's list; one also has up to three items that the user has just seen; and one follows an event of the
same user, which is sent to /events. Halfway the finetune artifact is committed again under another id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq

from crossrec_cli.config.load import load_config

Answers = list[tuple[str, float, str]]
"""Of each request its path, its seconds, and its status or error."""


def main() -> None:
    """Read the command line, start the server, send, report."""
    parser = argparse.ArgumentParser(description="crossrec serve under load.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    run = load_config(arguments.config, arguments.overrides).run_path
    command = [sys.executable, "-m", "crossrec_cli", "serve", str(arguments.config), "--port", "0"]
    command += [word for override in arguments.overrides for word in ("--set", override)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        address = next(match[1] for line in server.stderr if (match := re.search(r"(http://\S+)/docs", line)))
        answers, models = asyncio.run(send(address, run, arguments.rate, arguments.seconds))
    finally:
        server.terminate()
        server.wait()
    report(answers, models)


async def send(address: str, run: Path, rate: float, seconds: float) -> tuple[Answers, Counter[str]]:
    """Send at the rate; gives the answers, and how many came from which model."""
    read = {name: pq.read_table(run / f"preprocess/current/{name}.parquet") for name in ("users", "items")}
    users, items = read["users"]["user_id"].to_pylist(), read["items"]["item_id"].to_pylist()
    answers: Answers = []
    models = Counter[str]()
    chance = random.Random(1)

    async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
        started = time.perf_counter()
        try:
            answer = await client.post(f"{address}{path}", json=body)
            ended = str(answer.status_code)
            models[answer.json().get("model", "-")] += 1
        except httpx.HTTPError as error:
            ended = type(error).__name__
        answers.append((path, time.perf_counter() - started, ended))

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        user = chance.choice(users)
        fresh = chance.sample(items, chance.randint(1, 3))
        if number % 3 == 2:
            await post(client, "/events", {"events": [{"user_id": user, "item_id": fresh[0]}]})
        await post(client, "/recommend", {"user_id": user, "history": fresh if number % 3 == 1 else []})

    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(20):
            await ask(client, 2)  # the first ones warm up
        answers.clear()
        models.clear()
        beat, under_way, begun = 1 / rate, set(), time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(begun + number * beat - time.perf_counter(), 0))
            task = asyncio.create_task(ask(client, number))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            if number == int(rate * seconds / 2):
                commit_again(run / "finetune")
        await asyncio.gather(*under_way)
    return answers, models


def commit_again(stage: Path) -> None:
    """Commit the current artifact under a new id, as a training does when it ends."""
    link = stage / "current"
    before = link.readlink().name
    after = re.sub(r"\.\d+Z", f".{random.randrange(10**6):06d}Z", before)
    shutil.copytree(stage / before, stage / after)
    manifest = json.loads((stage / after / "manifest.json").read_text()) | {"id": after}
    (stage / after / "manifest.json").write_text(json.dumps(manifest))
    draft = stage / ".current"
    draft.symlink_to(after)
    draft.replace(link)


def report(answers: Answers, models: Counter[str]) -> None:
    """Print how long requests took, and how they ended."""
    for path in sorted({path for path, _, _ in answers}):
        seconds = np.array([took for at, took, _ in answers if at == path]) * 1000
        p50, p99 = np.percentile(seconds, [50, 99])
        print(f"{path}: {len(seconds):,} requests, p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {seconds.max():.0f} ms")
    print("ended:", dict(Counter(ended for _, _, ended in answers)))
    print("answered by:", dict(models))


if __name__ == "__main__":
    main()
