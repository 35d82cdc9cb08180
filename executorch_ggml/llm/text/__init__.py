"""Text for GGUF models: tokenizer, chat templates and the generation loop. Nothing here imports torch."""

from .chat import ChatTemplate, Message
from .generate import Generation, Piece, Stats, generate
from .sampling import Sampling, sample
from .stream import StopStrings, StreamDecoder
from .token_loop import TokenLoop
from .tokenizer import Tokenizer

__all__ = [
    "ChatTemplate",
    "Generation",
    "Message",
    "Piece",
    "Sampling",
    "Stats",
    "StopStrings",
    "StreamDecoder",
    "TokenLoop",
    "Tokenizer",
    "generate",
    "sample",
]
