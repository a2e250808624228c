"""Jobify's part: one sample, as the parent asks for it. The file cannot be called
jobify.py, as Python would then import it for the package.

    python with_jobify.py hold jobify COUNT ..
    python with_jobify.py round-trip jobify COUNT
    python with_jobify.py durable jobify NORMAL SUBMITTERS EACH

It prints lines of a name and a number, as the other samples do.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from jobify import Jobify
from jobify.storage import SQLiteStorage


def in_memory():
    return Jobify(storage=False)


async def nothing(number: int) -> None:
    pass


async def hold(count):
    app = in_memory()
    task = app.task(nothing)
    delays = [random.uniform(1800, 3600) for _ in range(count)]
    async with app:
        start = time.perf_counter()
        jobs = [await task.schedule(n).delay(delay) for n, delay in enumerate(delays)]
        print("schedule", (time.perf_counter() - start) * 1e9 / count)
        random.shuffle(jobs)
        start = time.perf_counter()
        for job in jobs:
            await job.cancel()
        each = (time.perf_counter() - start) * 1e9 / count
        # It cancels in the call: there is nothing that comes later.
        print("asked", each)
        print("done", each)


async def round_trip(count):
    app = in_memory()
    task = app.task(nothing)
    took = []
    async with app:
        for n in range(count):
            start = time.perf_counter()
            job = await task.push(n)
            await job.wait()
            took.append(time.perf_counter() - start)
    took.sort()
    print("p50", took[len(took) // 2] * 1e6)
    print("p99", took[len(took) * 99 // 100] * 1e6)


async def durable(submitters, each):
    # A few seconds of it are enough.
    each = min(each, max(1, 4000 // submitters))
    with tempfile.TemporaryDirectory(dir=".") as directory:
        app = Jobify(storage=SQLiteStorage(Path(directory) / "jobs.db"))
        task = app.task(durable=True)(nothing)

        async def submitter():
            for n in range(each):
                await task.schedule(n).delay(3600)

        async with app:
            start = time.perf_counter()
            await asyncio.gather(*(submitter() for _ in range(submitters)))
            print("rate", submitters * each / (time.perf_counter() - start))


def main():
    work, _, *rest = sys.argv[1:]
    if work == "hold":
        asyncio.run(hold(int(rest[0])))
    elif work == "round-trip":
        asyncio.run(round_trip(int(rest[0])))
    elif work == "durable" and rest[0] == "NORMAL":
        asyncio.run(durable(int(rest[1]), int(rest[2])))
    else:
        sys.exit(f"jobify does no {work} {rest}")


main()
