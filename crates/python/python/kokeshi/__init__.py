"""jina-embeddings-v3 and -v2 on this machine: vectors, late chunking, tables.

>>> import kokeshi
>>> model = kokeshi.Model("starter")
>>> vectors = model.encode(["How do I charge it?", "Connect the cable to the port."])
>>> vectors.shape
(2, 384)
"""

from kokeshi._kokeshi import VERSION as __version__
from kokeshi.collection import Collection, Hit
from kokeshi.embedder import Embedder
from kokeshi.model import Chunk, LateVectors, Model, TruncationWarning

__all__ = [
    "Chunk",
    "Collection",
    "Embedder",
    "Hit",
    "LateVectors",
    "Model",
    "TruncationWarning",
    "__version__",
]
