"""Embeds a folder of files of rows on a Ray cluster: docs/scale.md.

    ray job submit --address http://HEAD:8265 --working-dir deploy -- \
        python ray-embed.py '/texts/in/*.parquet' /texts/vectors/ --cpus 8

All nodes see the same folders and have the package (`pip install kokeshi`). The job can be submitted again
at any time: finished files are not embedded again.
"""

import argparse

import kokeshi
import kokeshi.ray
import ray

parser = argparse.ArgumentParser()
parser.add_argument("input")
parser.add_argument("output")
parser.add_argument("--model", default="starter")
parser.add_argument("--task", default="retrieval.passage")
parser.add_argument("--cpus", type=int, default=1, help="of each task, and threads of its model")
parser.add_argument("--gpus", type=int, default=0, help="of each task")
parser.add_argument("--keep", nargs="*", default=[])
arguments = parser.parse_args()

ray.init()
device = "cuda" if arguments.gpus else "cpu"
threads = None if arguments.gpus else arguments.cpus
model = kokeshi.Model(arguments.model, device=device, threads=threads)
summary = kokeshi.ray.embed(
    arguments.input,
    arguments.output,
    model=model,
    task=arguments.task,
    keep=arguments.keep,
    num_cpus=arguments.cpus,
    num_gpus=arguments.gpus,
)
print(summary)
