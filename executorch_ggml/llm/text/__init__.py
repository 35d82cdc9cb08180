"""Text for GGUF models: tokenizer, chat templates and the generation loop. Nothing here imports torch."""

from .chat import ChatTemplate, Message
from .constraint import JsonSchema
from .conversation import Conversation
from .generate import Generation, Piece, Stats, generate
from .logprobs import TokenLogprob
from .perplexity import Perplexity, perplexity
from .sampling import Sampling, sample
from .stream import StopStrings, StreamDecoder
from .token_loop import TokenLoop
from .tokenizer import Tokenizer

__all__ = [
    "ChatTemplate",
    "Conversation",
    "Generation",
    "JsonSchema",
    "Message",
    "Perplexity",
    "Piece",
    "Sampling",
    "Stats",
    "StopStrings",
    "StreamDecoder",
    "TokenLogprob",
    "TokenLoop",
    "Tokenizer",
    "generate",
    "perplexity",
    "sample",
]
