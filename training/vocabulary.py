"""`vocabulary`: the tokenizer of the teacher's pieces, which is that of XLM-R and
jina-embeddings-v3."""

import argparse
import io
import json
from pathlib import Path

from sentencepiece import SentencePieceTrainer
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from training import teacher

BOS, PAD, EOS, UNK = range(4)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SPACE = "▁"
# Decimals of the scores. Rounding shortens the file; the tests compare segmentations.
DECIMALS = 4


def character_map() -> bytes:
    """The normalization `nmt_nfkc` of sentencepiece, compiled: a toy model of it contains the
    map."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"] * 10),
        model_writer=model,
        vocab_size=14,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    proto = ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto.normalizer_spec.precompiled_charsmap


def build(pieces: list[str], scores: list[float], decimals: int | None = DECIMALS) -> Tokenizer:
    """A tokenizer of these pieces, of which the first are `SPECIAL` and the last is `<mask>`."""
    if pieces[: len(SPECIAL)] != SPECIAL or pieces[-1] != "<mask>":
        raise ValueError(f"the pieces do not start with {SPECIAL} and end with <mask>")
    rounded = scores if decimals is None else [round(score, decimals) for score in scores]
    vocabulary = list(zip(pieces, rounded, strict=True))
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=UNK, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(character_map())
    words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", BOS), ("</s>", EOS)],
    )
    special = [AddedToken(token, normalized=False, special=True) for token in SPECIAL]
    mask = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
    tokenizer.add_special_tokens([*special, mask])
    return tokenizer


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Writes tokenizer.json without spaces, as the engine and transformers read it."""
    compact = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
    path.write_text(compact, encoding="utf8")


def run(arguments: argparse.Namespace) -> None:
    """`vocabulary`."""
    model = teacher.load(arguments.teacher or teacher.package_file())
    path = arguments.work / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(build(model.pieces, model.scores), path)
    print(f"wrote {path}: {len(model.pieces)} pieces, {path.stat().st_size} bytes")
