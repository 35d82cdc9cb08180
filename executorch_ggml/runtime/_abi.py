"""The C interface (`csrc/include/executorch_ggml.h`) for ctypes: structures, and one table of prototypes.

Nothing here loads a library: `_load.library()` does, and binds this table to it.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

ABI_VERSION = 1
"""ETGGML_ABI_VERSION of the header this file mirrors."""


class TypeInfo(ctypes.Structure):
    """etggml_type_info"""

    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("block_size", c_int64),
        ("type_size", c_size_t),
        ("quantized", c_bool),
        ("cpu_mul_mat", c_bool),
    ]


class GgufTensor(ctypes.Structure):
    """etggml_gguf_tensor"""

    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("type", c_int32),
        ("n_dims", c_uint32),
        ("ne", c_int64 * 4),
        ("data", c_void_p),
        ("nbytes", c_uint64),
        ("file_offset", c_uint64),
        ("shard", c_uint32),
    ]


class GgufKv(ctypes.Structure):
    """etggml_gguf_kv"""

    _fields_ = [
        ("struct_size", c_size_t),
        ("key", c_char_p),
        ("type", c_int32),
        ("element_type", c_int32),
        ("count", c_uint64),
        ("data", c_void_p),
        ("nbytes", c_uint64),
    ]


class Tensor(ctypes.Structure):
    """etggml_tensor"""

    _fields_ = [
        ("dtype", c_int32),
        ("ndim", c_int32),
        ("shape", c_int64 * 8),
        ("data", c_void_p),
        ("nbytes", c_size_t),
    ]


class Value(ctypes.Structure):
    """etggml_value"""

    _fields_ = [
        ("struct_size", c_size_t),
        ("method", c_char_p),
        ("delegate", c_size_t),
        ("kind", c_int32),
        ("index", c_uint32),
        ("tensor", Tensor),
    ]


# typedef void (*etggml_log_fn)(int level, const char *message, void *user);
LogFn = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
# typedef void (*etggml_interrupt_fn)(void *user);
InterruptFn = ctypes.CFUNCTYPE(None, c_void_p)
# typedef bool (*etggml_progress_fn)(double fraction, void *user);
ProgressFn = ctypes.CFUNCTYPE(c_bool, c_double, c_void_p)
# typedef void (*etggml_payload_fn)(const char *method, size_t index, const void *data, size_t size, void *user);
PayloadFn = ctypes.CFUNCTYPE(None, c_char_p, c_size_t, c_void_p, c_size_t, c_void_p)
# typedef void (*etggml_value_fn)(const etggml_value *value, void *user);
ValueFn = ctypes.CFUNCTYPE(None, POINTER(Value), c_void_p)

_status = c_int32  # etggml_status
_json_out = POINTER(c_void_p)  # char **: c_void_p keeps the pointer, which etggml_string_free needs
_handle = c_void_p

PROTOTYPES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    # uint32_t etggml_abi_version(void)
    ("etggml_abi_version", c_uint32, ()),
    # const char *etggml_version(void)
    ("etggml_version", c_char_p, ()),
    # const char *etggml_last_error(void)
    ("etggml_last_error", c_char_p, ()),
    # void etggml_string_free(char *string)
    ("etggml_string_free", None, (c_void_p,)),
    # etggml_status etggml_build_info(char **json)
    ("etggml_build_info", _status, (_json_out,)),
    # void etggml_set_log(etggml_log_fn fn, void *user)
    ("etggml_set_log", None, (LogFn, c_void_p)),
    # void etggml_set_interrupt(etggml_interrupt_fn fn, const volatile bool *stop, void *user)
    ("etggml_set_interrupt", None, (InterruptFn, POINTER(c_bool), c_void_p)),
    # etggml_status etggml_devices(char **json)
    ("etggml_devices", _status, (_json_out,)),
    # int etggml_default_threads(void)
    ("etggml_default_threads", c_int, ()),
    # etggml_status etggml_type(int32_t type, etggml_type_info *out)
    ("etggml_type", _status, (c_int32, POINTER(TypeInfo))),
    # etggml_status etggml_quantize(int32_t type, const float *src, int64_t rows, int64_t columns,
    #                               const float *importance, void *dst, size_t dst_size)
    ("etggml_quantize", _status, (c_int32, c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_size_t)),
    # etggml_status etggml_dequantize(int32_t type, const void *src, size_t src_size, int64_t rows, int64_t columns,
    #                                 float *dst)
    ("etggml_dequantize", _status, (c_int32, c_void_p, c_size_t, c_int64, c_int64, c_void_p)),
    # etggml_status etggml_gguf_open(const char *path, const char *options_json, etggml_gguf **out)
    ("etggml_gguf_open", _status, (c_char_p, c_char_p, POINTER(_handle))),
    # void etggml_gguf_close(etggml_gguf *gguf)
    ("etggml_gguf_close", None, (_handle,)),
    # size_t etggml_gguf_tensor_count(const etggml_gguf *gguf)
    ("etggml_gguf_tensor_count", c_size_t, (_handle,)),
    # etggml_status etggml_gguf_tensor_at(const etggml_gguf *gguf, size_t index, etggml_gguf_tensor *out)
    ("etggml_gguf_tensor_at", _status, (_handle, c_size_t, POINTER(GgufTensor))),
    # etggml_status etggml_gguf_tensor_find(const etggml_gguf *gguf, const char *name, etggml_gguf_tensor *out)
    ("etggml_gguf_tensor_find", _status, (_handle, c_char_p, POINTER(GgufTensor))),
    # size_t etggml_gguf_kv_count(const etggml_gguf *gguf)
    ("etggml_gguf_kv_count", c_size_t, (_handle,)),
    # etggml_status etggml_gguf_kv_at(const etggml_gguf *gguf, size_t index, etggml_gguf_kv *out)
    ("etggml_gguf_kv_at", _status, (_handle, c_size_t, POINTER(GgufKv))),
    # etggml_status etggml_gguf_kv_find(const etggml_gguf *gguf, const char *key, etggml_gguf_kv *out)
    ("etggml_gguf_kv_find", _status, (_handle, c_char_p, POINTER(GgufKv))),
    # etggml_status etggml_gguf_info(const etggml_gguf *gguf, char **json)
    ("etggml_gguf_info", _status, (_handle, _json_out)),
    # etggml_status etggml_program_load(const char *pte_path, const etggml_gguf *weights, const char *options_json,
    #                                   etggml_progress_fn progress, void *user, etggml_program **out)
    ("etggml_program_load", _status, (c_char_p, _handle, c_char_p, ProgressFn, c_void_p, POINTER(_handle))),
    # void etggml_program_free(etggml_program *program)
    ("etggml_program_free", None, (_handle,)),
    # etggml_status etggml_program_check(const char *pte_path, const etggml_gguf *weights, char **json)
    ("etggml_program_check", _status, (c_char_p, _handle, _json_out)),
    # etggml_status etggml_program_payloads(const char *pte_path, etggml_payload_fn fn, void *user)
    ("etggml_program_payloads", _status, (c_char_p, PayloadFn, c_void_p)),
    # etggml_status etggml_program_info(etggml_program *program, char **json)
    ("etggml_program_info", _status, (_handle, _json_out)),
    # etggml_status etggml_program_execute(etggml_program *program, const char *method, const etggml_tensor *in,
    #                                      size_t n_in, etggml_tensor *out, size_t *n_out)
    (
        "etggml_program_execute",
        _status,
        (_handle, c_char_p, POINTER(Tensor), c_size_t, POINTER(Tensor), POINTER(c_size_t)),
    ),
    # etggml_status etggml_program_reset(etggml_program *program)
    ("etggml_program_reset", _status, (_handle,)),
    # void etggml_program_cancel(etggml_program *program)
    ("etggml_program_cancel", None, (_handle,)),
    # etggml_status etggml_program_stats(etggml_program *program, char **json)
    ("etggml_program_stats", _status, (_handle, _json_out)),
    # etggml_status etggml_program_etdump(etggml_program *program, const char *path)
    ("etggml_program_etdump", _status, (_handle, c_char_p)),
    # etggml_status etggml_program_watch(etggml_program *program, etggml_value_fn fn, void *user)
    ("etggml_program_watch", _status, (_handle, ValueFn, c_void_p)),
    # etggml_status etggml_generator_create(etggml_program *program, const char *options_json, etggml_generator **out)
    ("etggml_generator_create", _status, (_handle, c_char_p, POINTER(_handle))),
    # void etggml_generator_free(etggml_generator *generator)
    ("etggml_generator_free", None, (_handle,)),
    # etggml_status etggml_generator_feed(etggml_generator *generator, const int32_t *tokens, size_t n,
    #                                     etggml_progress_fn progress, void *user)
    ("etggml_generator_feed", _status, (_handle, POINTER(c_int32), c_size_t, ProgressFn, c_void_p)),
    # etggml_status etggml_generator_next(etggml_generator *generator, int32_t *token)
    ("etggml_generator_next", _status, (_handle, POINTER(c_int32))),
    # etggml_status etggml_generator_next_allowed(etggml_generator *generator, const uint32_t *allowed, size_t n_words,
    #                                             int32_t *token)
    ("etggml_generator_next_allowed", _status, (_handle, POINTER(c_uint32), c_size_t, POINTER(c_int32))),
    # size_t etggml_generator_position(const etggml_generator *generator)
    ("etggml_generator_position", c_size_t, (_handle,)),
    # etggml_status etggml_generator_rewind(etggml_generator *generator, size_t n)
    ("etggml_generator_rewind", _status, (_handle, c_size_t)),
    # etggml_status etggml_generator_logits(etggml_generator *generator, const float **logits, size_t *n_vocab)
    ("etggml_generator_logits", _status, (_handle, POINTER(POINTER(c_float)), POINTER(c_size_t))),
    # etggml_status etggml_sample(const float *logits, size_t n_vocab, const int32_t *history, size_t n_history,
    #                             const char *options_json, int32_t *token)
    (
        "etggml_sample",
        _status,
        (POINTER(c_float), c_size_t, POINTER(c_int32), c_size_t, c_char_p, POINTER(c_int32)),
    ),
)


def bind(lib: ctypes.CDLL) -> list[str]:
    """Declares every function of the table on `lib`; returns the names the library does not have."""
    missing = []
    for name, restype, argtypes in PROTOTYPES:
        try:
            function = getattr(lib, name)
        except AttributeError:
            missing.append(name)
            continue
        function.restype = restype
        function.argtypes = argtypes
    return missing
