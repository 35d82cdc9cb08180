"""Text for GGUF models: tokenizer, chat templates and the generation loop. Nothing here imports torch."""

from executorch_ggml.text.chat import ChatTemplate, Message
from executorch_ggml.text.stream import StopStrings, StreamDecoder
from executorch_ggml.text.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "Message", "StopStrings", "StreamDecoder", "Tokenizer"]
