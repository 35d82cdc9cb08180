/* executorch-ggml: the C ABI, the one public header.
 *
 * Conventions
 *  - Every function returns an etggml_status unless its comment says otherwise; nothing is thrown across the boundary.
 *  - On failure etggml_last_error() holds a message for the calling thread: the fault, its file / field / node, and a
 *    remedy. Out-parameters are left untouched on failure.
 *  - Handles are opaque. A program runs one call at a time: a second call from another thread while one is running
 *    returns ETGGML_BUSY and harms nothing. Different programs may run in parallel and share mapped weights.
 *  - Options are JSON objects (NULL or "" = defaults). An unknown key is ETGGML_INVALID_ARGUMENT.
 *  - Strings returned through char** are released with etggml_string_free.
 *  - The library must never be dlclose()d (ggml's backends cannot be unloaded).
 *  - Structs that may grow carry struct_size, set by the caller.
 */
/* Prototypes and their comments are laid out by hand. */
/* clang-format off */
#ifndef EXECUTORCH_GGML_H
#define EXECUTORCH_GGML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ETGGML_API __declspec(dllexport)
#else
#define ETGGML_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ETGGML_ABI_VERSION 1

typedef enum etggml_status {
  ETGGML_OK = 0,
  ETGGML_INVALID_ARGUMENT = 1, /* a bad argument or option */
  ETGGML_IO = 2,               /* a file that cannot be opened, read or mapped */
  ETGGML_FORMAT = 3,           /* a malformed file or delegate payload */
  ETGGML_BIND = 4,             /* weights that do not fit the graph: missing, mis-shaped, mis-typed, wrong model */
  ETGGML_UNSUPPORTED = 5,      /* well-formed, but beyond this build (operator, type, version) */
  ETGGML_SHAPE = 6,            /* input rank or dimension outside the range of the graph */
  ETGGML_DTYPE = 7,            /* input dtype is not that of the graph */
  ETGGML_RANGE = 8,            /* input value out of range: token id, position beyond the cache */
  ETGGML_DEVICE = 9,           /* device missing, unusable or lost */
  ETGGML_BUSY = 10,            /* another thread is inside this program */
  ETGGML_OUT_OF_MEMORY = 11,
  ETGGML_CANCELLED = 12,
  ETGGML_INTERNAL = 13
} etggml_status;

/* ---------------------------------------------------------------- library */

ETGGML_API uint32_t etggml_abi_version(void);          /* returns ETGGML_ABI_VERSION of the library */
ETGGML_API const char *etggml_version(void);           /* returns the package version, static storage */
ETGGML_API const char *etggml_last_error(void);        /* returns the calling thread's last message, never NULL */
ETGGML_API void etggml_string_free(char *string);
/* JSON: version, ggml version, executorch version, compiler, backend directory, compiled options. */
ETGGML_API etggml_status etggml_build_info(char **json);

typedef enum etggml_log_level {
  ETGGML_LOG_DEBUG = 10,
  ETGGML_LOG_INFO = 20,
  ETGGML_LOG_WARNING = 30,
  ETGGML_LOG_ERROR = 40
} etggml_log_level;
typedef void (*etggml_log_fn)(int level, const char *message, void *user);
/* Routes the library's, ggml's and ExecuTorch's log lines; NULL drops them. Nothing is written to stderr by default. */
ETGGML_API void etggml_set_log(etggml_log_fn fn, void *user);

/* For a host that handles signals itself, in its main thread (Python). While a call computes, loads or converts
 * numbers there, fn runs about every 50 ms on that thread. If *stop is true afterwards, the call ends with
 * ETGGML_CANCELLED; on the CPU it also ends in the middle of an operation. NULL: nobody is asked. stop must stay valid;
 * fn must not call into the library. */
typedef void (*etggml_interrupt_fn)(void *user);
ETGGML_API void etggml_set_interrupt(etggml_interrupt_fn fn, const volatile bool *stop, void *user);

/* JSON array, one object a device: name, description, type (cpu|gpu|igpu|accel), memory_free, memory_total, usable,
 * reason. Loads the plug-ins that are installed. One that cannot be used is listed under its family's name ("cuda"),
 * with the reason. */
ETGGML_API etggml_status etggml_devices(char **json);
/* Threads a session uses by default: physical cores available to this process (affinity and cgroup quota). */
ETGGML_API int etggml_default_threads(void);

/* ---------------------------------------------------------------- ggml types */

/* type: ggml_type number. Fails with ETGGML_UNSUPPORTED for a number ggml does not know. */
typedef struct etggml_type_info {
  size_t struct_size;
  const char *name;        /* "q8_0" */
  int64_t block_size;      /* elements */
  size_t type_size;        /* bytes a block */
  bool quantized;
  bool cpu_mul_mat;        /* ggml's CPU backend can multiply by it */
} etggml_type_info;
ETGGML_API etggml_status etggml_type(int32_t type, etggml_type_info *out);
/* src: F32 [rows, columns]; dst: rows * row_size(type, columns) bytes. importance: F32 [columns] or NULL. */
ETGGML_API etggml_status etggml_quantize(int32_t type, const float *src, int64_t rows, int64_t columns,
                                         const float *importance, void *dst, size_t dst_size);
ETGGML_API etggml_status etggml_dequantize(int32_t type, const void *src, size_t src_size, int64_t rows,
                                           int64_t columns, float *dst);

/* ---------------------------------------------------------------- GGUF */

typedef struct etggml_gguf etggml_gguf;

/* Maps and checks a GGUF file (or the first shard of a split set; the other shards are found beside it).
 * Options: {"max_string": bytes, "max_array": elements} (limits above which a file is refused). */
ETGGML_API etggml_status etggml_gguf_open(const char *path, const char *options_json, etggml_gguf **out);
ETGGML_API void etggml_gguf_close(etggml_gguf *gguf);  /* programs loaded with it keep the mapping alive */

typedef struct etggml_gguf_tensor {
  size_t struct_size;
  const char *name;
  int32_t type;            /* ggml_type */
  uint32_t n_dims;
  int64_t ne[4];           /* ggml order, unused entries 1 */
  const void *data;        /* inside the mapping */
  uint64_t nbytes;
  uint64_t file_offset;
  uint32_t shard;
} etggml_gguf_tensor;

ETGGML_API size_t etggml_gguf_tensor_count(const etggml_gguf *gguf);  /* returns the count */
ETGGML_API etggml_status etggml_gguf_tensor_at(const etggml_gguf *gguf, size_t index, etggml_gguf_tensor *out);
/* ETGGML_BIND when there is none of that name; the message names the nearest. ETGGML_IO when the file was truncated or
 * rewritten since it was opened. Reading its mapping could then end the process (SIGBUS), so look up before a long
 * read. */
ETGGML_API etggml_status etggml_gguf_tensor_find(const etggml_gguf *gguf, const char *name, etggml_gguf_tensor *out);

typedef struct etggml_gguf_kv {
  size_t struct_size;
  const char *key;
  int32_t type;            /* gguf value type 0..12 */
  int32_t element_type;    /* of an array, else -1 */
  uint64_t count;          /* elements of an array, else 1 */
  const void *data;        /* the value as encoded in the file (strings: u64 length then bytes), checked */
  uint64_t nbytes;
} etggml_gguf_kv;

ETGGML_API size_t etggml_gguf_kv_count(const etggml_gguf *gguf);  /* returns the count */
ETGGML_API etggml_status etggml_gguf_kv_at(const etggml_gguf *gguf, size_t index, etggml_gguf_kv *out);
ETGGML_API etggml_status etggml_gguf_kv_find(const etggml_gguf *gguf, const char *key, etggml_gguf_kv *out);
/* JSON: path(s), version, alignment, tensor and KV counts, data bytes, file bytes. */
ETGGML_API etggml_status etggml_gguf_info(const etggml_gguf *gguf, char **json);

/* ---------------------------------------------------------------- programs */

typedef struct etggml_program etggml_program;

/* fraction 0..1 while loading; return false to cancel (ETGGML_CANCELLED). */
typedef bool (*etggml_progress_fn)(double fraction, void *user);

/* Loads a .pte. weights: NULL when the .pte (or options.data_path, a .ptd) holds them. Methods are initialised on
 * first use, or now when listed in "methods".
 * Options: {"device": "cpu", "threads": 0, "cache_type": "f16"|"f32"|"q8_0"|..., "methods": ["forward"],
 *           "data_path": "x.ptd", "max_plans": 16, "profile": false, "etdump": false, "skip_output_copy": false} */
ETGGML_API etggml_status etggml_program_load(const char *pte_path, const etggml_gguf *weights, const char *options_json,
                                             etggml_progress_fn progress, void *user, etggml_program **out);
ETGGML_API void etggml_program_free(etggml_program *program);

/* Everything that would stop these weights from running this graph, found without loading any. JSON:
 *   {"ok": bool, "tensors": n, "bytes": n, "extra": [names],
 *    "problems": [{"kind": "missing|shape|type|metadata", "key", "expected", "found", "nearest": [..], "message"}]}
 * Returns ETGGML_OK also when "ok" is false. */
ETGGML_API etggml_status etggml_program_check(const char *pte_path, const etggml_gguf *weights, char **json);

/* The delegate payloads (GGIR FlatBuffers) of a .pte, in order of method and appearance. */
typedef void (*etggml_payload_fn)(const char *method, size_t index, const void *data, size_t size, void *user);
ETGGML_API etggml_status etggml_program_payloads(const char *pte_path, etggml_payload_fn fn, void *user);

/* JSON:
 *   methods with inputs and outputs (dtype, upper-bound shape); device, threads, cache_type;
 *   states of loaded methods: name, type, shape, bytes, kind ("kv_cache", "state"), owner ("delegate", "executorch");
 *   weights (count, bytes, bytes_private); plans (count, bytes); calls: the number that may have changed states. */
ETGGML_API etggml_status etggml_program_info(etggml_program *program, char **json);

/* dtype: torch ScalarType number: 0 uint8, 1 int8, 2 int16, 3 int32, 4 int64, 5 half, 6 float, 7 double, 11 bool,
 * 15 bfloat16. Row-major and contiguous. rank <= 8. An int argument of the method: ndim -1, data = int64_t*;
 * float: ndim -2, double*; no value (None): ndim -3, data NULL. */
typedef struct etggml_tensor {
  int32_t dtype;
  int32_t ndim;
  int64_t shape[8];
  void *data;
  size_t nbytes;
} etggml_tensor;

/* method: NULL = "forward". n_out: in, the capacity of out; out, the method's number of outputs. If that is more than
 * the capacity, nothing was computed. Output data belongs to the program and stays valid until its next call. */
ETGGML_API etggml_status etggml_program_execute(etggml_program *program, const char *method, const etggml_tensor *in,
                                                size_t n_in, etggml_tensor *out, size_t *n_out);
/* Sets every state (KV caches, ...) back to its initial value. */
ETGGML_API etggml_status etggml_program_reset(etggml_program *program);
/* From any thread: the running call, if any, ends with ETGGML_CANCELLED. It may have written some states: reset, or go
 * on. */
ETGGML_API void etggml_program_cancel(etggml_program *program);
/* JSON: per-phase times (GGML_PERF_LOG), per-op times (GGML_PROFILE or "profile"), plan cache hits. */
ETGGML_API etggml_status etggml_program_stats(etggml_program *program, char **json);
/* Writes the ETDump recorded since load (option "etdump") to a file, for ExecuTorch's Inspector. Starts a new one. */
ETGGML_API etggml_status etggml_program_etdump(etggml_program *program, const char *path);

/* A value of a call while it runs, for finding the first that is wrong. Valid during the callback only. */
typedef enum etggml_value_kind {
  ETGGML_VALUE_SYMBOL = 0,
  ETGGML_VALUE_INPUT = 1,
  ETGGML_VALUE_NODE = 2
} etggml_value_kind;
typedef struct etggml_value {
  size_t struct_size;
  const char *method;
  size_t delegate;         /* index among the method's payloads, as etggml_program_payloads counts */
  int32_t kind;            /* etggml_value_kind */
  uint32_t index;          /* of the symbol, input or node in the payload */
  etggml_tensor tensor;    /* symbols: rank 0, int64. Nodes: rank 4, slowest dimension first; floats as float32 */
} etggml_value;
typedef void (*etggml_value_fn)(const etggml_value *value, void *user);
/* From the next execute on, shows every symbol, input and node value of every delegate, in this order, and nodes as
 * they are computed; NULL ends it. Nodes then run one by one, which is slow, but by the same kernels. Block types are
 * shown as float32. A node that a kernel computes together with the next one has no value and is left out. fn must not
 * call into the program. */
ETGGML_API etggml_status etggml_program_watch(etggml_program *program, etggml_value_fn fn, void *user);

/* ---------------------------------------------------------------- token loop */

typedef struct etggml_generator etggml_generator;

/* A token loop on a method (input_ids int64 [1, n], cache_position int64 [n]) -> logits [1, 1 | n, vocab]. The program
 * must outlive it and is occupied only during calls. Options:
 *   {"method": "forward", "temperature": 0 (greedy), "top_k": 0 (off), "top_p": 1, "min_p": 0, "repeat_penalty": 1,
 *    "repeat_last_n": 64, "seed": 0 (from the OS), "max_chunk": 0 (the method's bound)} */
ETGGML_API etggml_status etggml_generator_create(etggml_program *program, const char *options_json,
                                                 etggml_generator **out);
ETGGML_API void etggml_generator_free(etggml_generator *generator);
/* Appends tokens to the sequence and runs them (in chunks); afterwards the logits of the last one are current. */
ETGGML_API etggml_status etggml_generator_feed(etggml_generator *generator, const int32_t *tokens, size_t n,
                                               etggml_progress_fn progress, void *user);
/* Samples the next token from the current logits. The token is run on the next call of next/feed, not now. */
ETGGML_API etggml_status etggml_generator_next(etggml_generator *generator, int32_t *token);
/* The same, among allowed tokens. Token i has bit i % 32 of word i / 32. Tokens beyond n_words * 32 are not allowed.
 * ETGGML_RANGE when none is left. Logits that are read afterwards are the model's own. */
ETGGML_API etggml_status etggml_generator_next_allowed(etggml_generator *generator, const uint32_t *allowed,
                                                       size_t n_words, int32_t *token);
/* Tokens with keys and values in the cache, plus the pending one. */
ETGGML_API size_t etggml_generator_position(const etggml_generator *generator);
/* Forgets everything after the first n tokens (0 = all). */
ETGGML_API etggml_status etggml_generator_rewind(etggml_generator *generator, size_t n);
/* The current logits, F32 [vocab]; valid until the next call on the program. */
ETGGML_API etggml_status etggml_generator_logits(etggml_generator *generator, const float **logits, size_t *n_vocab);
/* The sampler alone, on logits given (tests, custom loops). history: previous tokens for the repetition penalty. */
ETGGML_API etggml_status etggml_sample(const float *logits, size_t n_vocab, const int32_t *history, size_t n_history,
                                       const char *options_json, int32_t *token);

#ifdef __cplusplus
}
#endif
#endif
