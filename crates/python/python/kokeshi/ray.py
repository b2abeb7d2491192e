"""Ray: a job's shards as tasks, which any node of a cluster can run.

For a dataset in Ray's memory, :class:`kokeshi.Embedder` is the function of ``map_batches``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from kokeshi.tables import Job, ShardResult, Summary, _patterns


@ray.remote
def _run(job: Job, shard: str) -> ShardResult:
    return job.run(shard)


def embed(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    num_cpus: float = 1,
    num_gpus: float = 0,
    max_retries: int = 10,
    **options: Any,
) -> Summary:
    """Embeds files of rows on the nodes of a cluster, which all see the same files.

    num_cpus, num_gpus: of each task; give the model as many threads as ``num_cpus``.
    max_retries: how often a shard is begun again after its worker or node was lost.
    options: those of :class:`kokeshi.tables.Job`.

    A shard that is finished is not run again, whoever ran it. A shard that stops half-way, because its
    worker or its node is lost, leaves nothing, and is begun again elsewhere.
    """
    job = Job(_patterns(inputs), str(output), **options)
    task = _run.options(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=max_retries)
    handle = ray.put(job)
    waiting = [task.remote(handle, shard) for shard in job.plan()]
    summary = Summary()
    while waiting:
        done, waiting = ray.wait(waiting)
        for result in ray.get(done):
            summary = summary.plus(result)
    return summary
