// Kernel descriptors: one for each GGML_OP_CUSTOM node, made when a plan is fused (csrc/fusion), read when the node is
// launched. Plain data over ggml tensors, shared by both sides; the plan owns it.
#pragma once

#include <cstdint>

#include "fusion/sample_params.h"
#include "ggml.h"

namespace etggml::cuda {

/// Rises with every change of this file: both sides must agree on it.
constexpr uint32_t kDescVersion = 5;

/// Columns (tokens) that a decode kernel takes at most; longer inputs are ggml's matrix products.
constexpr int kMaxColumns = 8;

enum class Kind : int32_t {
  MatVec = 1,
  Heads = 2,
  Attention = 3,
  CausalMask = 4,
  Argmax = 5,
  HeadsAttention = 6,
  Sample = 7,
  Route = 8
};

struct KernelDesc {
  Kind kind;
  /// Programmatic dependent launch: the next node is a kernel of ours too, so it may begin while this one runs. ggml's
  /// kernels do not wait for such a predecessor.
  bool overlaps_next;
};

/// Rows of up to three matrices of one type times the same columns: out = epilogue(w * norm(x)).
struct MatVecDesc : KernelDesc {
  static constexpr int kMaxSegments = 3;
  struct Segment {
    const ggml_tensor* weight;    // [K, ...]: rows `first_row` to `first_row` + N
    const ggml_tensor* bias;      // F32 [N] or null
    const ggml_tensor* residual;  // F32 [N, columns] or null, added last
    const ggml_tensor* out;       // F32 [N, columns]
    int64_t rows;                 // N
    int64_t first_row;
  };
  enum Glu : int32_t { None = 0, Swiglu = 1, Geglu = 2 };
  Segment segment[kMaxSegments];
  int32_t segments;
  int32_t columns;
  const ggml_tensor* x;     // F32 [K, ...]; column c starts at x_offset + c * K elements
  int64_t x_offset;         // elements
  const ggml_tensor* gain;  // F32 [K] or null
  bool norm;                // x / sqrt(mean(x^2) + eps) * gain comes first
  float eps;
  /// out = activation(segment 0) * (segment 1): two segments of equal rows, only the first one's out is written. Both
  /// may be rows of one matrix.
  Glu glu;
  /// Post-norm: the columns are y = addend + post_gain * x / sqrt(mean(x^2) + post_eps). They are written to `sum`, and
  /// `norm` follows.
  bool post_norm;
  float post_eps;
  const ggml_tensor* post_gain;  // F32 [K] or null
  const ggml_tensor* addend;     // F32 [K, columns] at addend_offset elements
  int64_t addend_offset;
  const ggml_tensor* sum;  // F32 [K, columns]
  /// Experts: weights are [K, N, experts], and `ids` names the `used` ones, for one column. With a gate, segments have
  /// used * N rows: row r is row r % N of expert ids[r / N]. Without, x is [K, used], and the results of all experts
  /// are added up, each times its scale.
  const ggml_tensor* ids;            // I32, at least `used`; or null
  const ggml_tensor* expert_scales;  // F32 [used] or null
  int32_t used;
  /// The kernel before leaves multiprocessors idle. This one then takes so much shared memory that two of its blocks do
  /// not fit on one multiprocessor. Otherwise they would start there in pairs, and as many multiprocessors would stay
  /// idle.
  bool spreads;
};

/// Normalises (q, k) and rotates heads, and writes keys and values into the caches.
struct HeadsDesc : KernelDesc {
  struct Input {
    const ggml_tensor* tensor;  // F32; head h of token t starts at offset + t * token_stride + h * D elements
    int64_t offset, token_stride;
    const ggml_tensor* gain;  // F32 [D] or null: RMS norm of every head
    float eps;
    bool norm;
    bool rotate;
  };
  Input q, k, v;               // v is never normalised or rotated
  const ggml_tensor* q_out;    // F32 [D, H, q_tokens]
  const ggml_tensor* k_cache;  // F16 or F32 [Hkv * D, rows]
  const ggml_tensor* v_cache;
  const ggml_tensor* rows;         // I64 or I32 [tokens]: where keys and values go
  const ggml_tensor* positions;    // I32 [tokens] of keys
  const ggml_tensor* q_positions;  // I32 [q_tokens]
  int64_t q_positions_offset;      // elements
  const ggml_tensor* factors;      // F32 or null: frequency factors
  int32_t head_dim, q_heads, kv_heads, tokens, q_tokens;
  int32_t n_dims;
  bool neox;  // pairs (i, i + n_dims / 2), else (2i, 2i + 1)
  float freq_base, freq_scale, attn_factor;
};

/// Attention of a few queries on a cache: out[D, H, T] = softmax(scale * q k + mask) v.
struct AttentionDesc : KernelDesc {
  const ggml_tensor* q;        // F32 [D, H, T]
  const ggml_tensor* k_cache;  // F16; key s of head h at offset + s * row_stride + h * head_stride elements
  const ggml_tensor* v_cache;
  int64_t k_offset, v_offset, k_row_stride, v_row_stride, k_head_stride, v_head_stride;
  const ggml_tensor* mask;     // F16 [n_kv, T] or null
  const ggml_tensor* out;      // F32 [D, H, T]
  const ggml_tensor* scratch;  // F32, zeroed when made; scratch_elements() of them
  int64_t n_kv;
  int32_t head_dim, q_heads, kv_heads, tokens;
  float scale, softcap;
};

/// Both: `attention` reads the queries that `heads` writes, and they use the same caches.
struct HeadsAttentionDesc : KernelDesc {
  HeadsDesc heads;
  AttentionDesc attention;
};

/// The choice of experts for one column: the `used` largest of softmax(x), largest first, and their weights, divided by
/// the larger of their sum and `least_sum`.
struct RouteDesc : KernelDesc {
  const ggml_tensor* x;        // F32 [experts]
  const ggml_tensor* ids;      // I32, the first `used` are written
  const ggml_tensor* weights;  // F32 [used]
  int32_t experts, used;
  float least_sum;
};
constexpr int kMaxExperts = 512;

/// F16 [n_kv, T]: 0 where key j <= positions[t] and (window == 0 or positions[t] - j < window), else -infinity.
struct CausalMaskDesc : KernelDesc {
  const ggml_tensor* positions;  // I32 [T]
  const ggml_tensor* out;
  int64_t n_kv, window;
  int32_t tokens;
};

/// out I32 [1]: the first index of the largest of the last row of x; -1 for a NaN, -2 when nothing is finite, -3 for
/// +infinity.
struct ArgmaxDesc : KernelDesc {
  const ggml_tensor* x;  // F32 [V, T]
  const ggml_tensor* out;
  const ggml_tensor* scratch;  // F32, zeroed when made; kArgmaxScratch elements
};
constexpr int64_t kArgmaxScratch = 4096;

/// out I32 [1]: a draw from the last row of x as text/sampler.h has it (3 to 6 there, no repetition penalty); negative
/// as for ArgmaxDesc.
struct SampleDesc : KernelDesc {
  const ggml_tensor* x;       // F32 [V, T]
  const ggml_tensor* params;  // F32 [kSampleParams]: the bytes of SampleParams
  const ggml_tensor* out;
  const ggml_tensor* scratch;  // F32, zeroed when made; sample_scratch_elements() of them
};
constexpr int64_t kSampleParams = sizeof(SampleParams) / sizeof(float);
constexpr int kSampleBins = 4096;  // of the upper 12 bits of a logit
/// Counts of bins, counters, the candidates that are chosen for sure, and those among which the rest is chosen.
inline int64_t sample_scratch_elements(int64_t vocabulary) { return kSampleBins + 16 + 2 * (kMaxTopK + vocabulary); }

/// Elements of AttentionDesc::scratch: partial sums of every split, and counters that the kernel leaves at zero.
constexpr int kMaxSplits = 64;
inline int64_t scratch_elements(int head_dim, int q_heads, int tokens) {
  const int64_t rows = static_cast<int64_t>(q_heads) * tokens;
  return rows * kMaxSplits * (head_dim + 2) + rows;
}

/// The module's export under kModuleSymbol.
struct Module {
  uint32_t version;
  /// Is there a kernel for this descriptor on this device (types, sizes, shared memory)?
  bool (*supports)(int device, const KernelDesc* desc);
  bool (*launch)(int device, void* stream, const KernelDesc* desc);
};
constexpr const char* kModuleSymbol = "etggml_cuda_module";

/// Where a node of op GGML_OP_CUSTOM keeps its descriptor (behind ggml's own fields and the name that profiles use, see
/// graph/kernels/custom_op.h).
constexpr size_t kDescOffset = 40;

}  // namespace etggml::cuda
