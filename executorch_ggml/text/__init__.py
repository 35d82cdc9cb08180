"""Text for GGUF models: tokenizer, chat templates and the generation loop. Nothing here imports torch."""

from executorch_ggml.text.chat import ChatTemplate, Message
from executorch_ggml.text.generate import Generation, Piece, Stats, generate
from executorch_ggml.text.sampling import Sampling, sample
from executorch_ggml.text.stream import StopStrings, StreamDecoder
from executorch_ggml.text.token_loop import TokenLoop
from executorch_ggml.text.tokenizer import Tokenizer

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
