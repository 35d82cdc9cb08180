// Registers of floats on Highway, for kernels that hwy/foreach_target.h compiles once for each instruction set. Like
// every file of such code it is read again for every target.
//
// A kernel names its sums with arrays of registers, so a register has a size that the compiler knows: there is no SVE.
#if defined(ETGGML_KERNELS_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ETGGML_KERNELS_SIMD_INL_H
#undef ETGGML_KERNELS_SIMD_INL_H
#else
#define ETGGML_KERNELS_SIMD_INL_H
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

// Whether kernels are compiled for this target. On others, which are older CPUs, ggml's run.
#undef ETGGML_SIMD
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || (HWY_TARGET_IS_NEON && HWY_ARCH_ARM_A64)
#define ETGGML_SIMD 1
#else
#define ETGGML_SIMD 0
#endif

#if ETGGML_SIMD
HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Reg = hn::Vec<Floats>;
using Mask = hn::Mask<Floats>;

constexpr Floats kFloats;
constexpr int kW = static_cast<int>(hn::MaxLanes(kFloats));
constexpr int kRegisters = HWY_TARGET == HWY_AVX2 ? 16 : 32;

HWY_INLINE Reg zero() { return hn::Zero(kFloats); }
HWY_INLINE Reg set(float x) { return hn::Set(kFloats, x); }
HWY_INLINE Reg load(const float* p) { return hn::LoadU(kFloats, p); }
HWY_INLINE void store(float* p, Reg x) { hn::StoreU(x, kFloats, p); }

/// The first n lanes, n in [0, kW]. Highway's FirstN takes any n, which costs an operation or two.
HWY_INLINE Mask first_lanes(int n) {
#if HWY_TARGET == HWY_AVX3
  return Mask{static_cast<__mmask16>((1u << n) - 1)};
#else
  const hn::RebindToSigned<Floats> integers;
  return hn::RebindMask(kFloats, hn::Lt(hn::Iota(integers, 0), hn::Set(integers, n)));
#endif
}
/// Lanes [from, to), both in [0, kW].
HWY_INLINE Mask lanes_between(int from, int to) {
#if HWY_TARGET == HWY_AVX3
  return Mask{static_cast<__mmask16>(((1u << to) - 1) & ~((1u << from) - 1))};
#else
  return hn::AndNot(first_lanes(from), first_lanes(to));
#endif
}
/// The lanes with set bits.
HWY_INLINE Mask lanes_of_bits(uint16_t lanes) {
#if HWY_TARGET == HWY_AVX3
  return Mask{lanes};
#else
  uint8_t bytes[8] = {};  // as many as may be read
  memcpy(bytes, &lanes, sizeof(lanes));
  return hn::LoadMaskBits(kFloats, bytes);
#endif
}

#if HWY_ARCH_X86
/// `other` in the other lanes; their memory is not touched.
HWY_INLINE Reg load(const float* p, Mask m, Reg other) { return hn::MaskedLoadOr(other, m, kFloats, p); }
/// 0 in the other lanes; their memory is not touched.
HWY_INLINE Reg load(const float* p, Mask m) { return hn::MaskedLoad(m, kFloats, p); }
/// The memory of the other lanes is not touched.
HWY_INLINE void store(float* p, Reg x, Mask m) { hn::BlendedStore(x, m, kFloats, p); }
#else
// Without masked instructions Highway's read and write whole registers: these go lane by lane where a lane is hidden.
HWY_MAYBE_UNUSED HWY_NOINLINE Reg load_each(const float* p, Mask m, Reg other) {
  const uint64_t seen = hn::BitsFromMask(kFloats, m);
  alignas(16) float each[kW];
  store(each, other);
  for (int i = 0; i < kW; ++i) {
    if (seen >> i & 1) each[i] = p[i];
  }
  return load(each);
}
HWY_MAYBE_UNUSED HWY_NOINLINE void store_each(float* p, Reg x, Mask m) {
  const uint64_t seen = hn::BitsFromMask(kFloats, m);
  alignas(16) float each[kW];
  store(each, x);
  for (int i = 0; i < kW; ++i) {
    if (seen >> i & 1) p[i] = each[i];
  }
}
HWY_INLINE Reg load(const float* p, Mask m, Reg other) {
  return HWY_LIKELY(hn::AllTrue(kFloats, m)) ? load(p) : load_each(p, m, other);
}
HWY_INLINE Reg load(const float* p, Mask m) { return load(p, m, zero()); }
HWY_INLINE void store(float* p, Reg x, Mask m) {
  if (HWY_LIKELY(hn::AllTrue(kFloats, m))) {
    store(p, x);
  } else {
    store_each(p, x, m);
  }
}
#endif

/// 0 in the other lanes; their memory may be read.
HWY_INLINE Reg load_whole(const float* p, Mask m) {
#if HWY_ARCH_X86
  return load(p, m);
#else
  return hn::IfThenElseZero(m, load(p));
#endif
}

HWY_INLINE Reg load_f16(const uint16_t* p) {
  const hn::Rebind<uint16_t, Floats> halves;
  const hn::Rebind<hwy::float16_t, Floats> f16;
  return hn::PromoteTo(kFloats, hn::BitCast(f16, hn::LoadU(halves, p)));
}

/// Into the second-level cache.
HWY_INLINE void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }
HWY_INLINE void prefetch_to_write(float* p) { __builtin_prefetch(p, 1); }

/// a >= b ? x : y, lane by lane.
HWY_INLINE Reg where_ge(Reg a, Reg b, Reg x, Reg y) { return hn::IfThenElse(hn::Ge(a, b), x, y); }

/// b where one of the two is NaN. Highway leaves that open, and processors differ.
HWY_INLINE Reg maximum(Reg a, Reg b) {
#if HWY_ARCH_X86
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}
HWY_INLINE Reg minimum(Reg a, Reg b) {
#if HWY_ARCH_X86
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}

/// Every second lane of a and b, from the first.
HWY_INLINE Reg even_lanes(Reg a, Reg b) { return hn::ConcatEven(kFloats, b, a); }

/// x * 2^n for whole n in [-252, 254].
HWY_INLINE Reg scale_by_power(Reg x, Reg n) {
#if HWY_TARGET == HWY_AVX3
  return hn::MulByFloorPow2(x, n);
#else
  // In two steps, because 2^n alone may be below the smallest normal number.
  const hn::RebindToSigned<Floats> integers;
  const auto power = [&](auto e) HWY_ATTR {
    return hn::BitCast(kFloats, hn::ShiftLeft<23>(hn::Add(e, hn::Set(integers, 127))));
  };
  const auto whole = hn::ConvertInRangeTo(integers, n), half = hn::ShiftRight<1>(whole);
  return hn::Mul(hn::Mul(x, power(half)), power(hn::Sub(whole, half)));
#endif
}

/// rows[i][j] <-> rows[j][i], of kW rows.
HWY_INLINE void transpose(Reg* rows) {
  const hn::Repartition<double, Floats> pairs;
  const auto lower = [&](Reg a, Reg b) HWY_ATTR {
    return hn::BitCast(kFloats, hn::InterleaveLower(pairs, hn::BitCast(pairs, a), hn::BitCast(pairs, b)));
  };
  const auto upper = [&](Reg a, Reg b) HWY_ATTR {
    return hn::BitCast(kFloats, hn::InterleaveUpper(pairs, hn::BitCast(pairs, a), hn::BitCast(pairs, b)));
  };
  // b[4 g + c] holds, in its 128-bit block l, column 4 l + c of rows 4 g to 4 g + 3.
  Reg b[kW];
  HWY_UNROLL(4)
  for (int g = 0; g < kW; g += 4) {
    const Reg low01 = hn::InterleaveLower(kFloats, rows[g], rows[g + 1]);
    const Reg high01 = hn::InterleaveUpper(kFloats, rows[g], rows[g + 1]);
    const Reg low23 = hn::InterleaveLower(kFloats, rows[g + 2], rows[g + 3]);
    const Reg high23 = hn::InterleaveUpper(kFloats, rows[g + 2], rows[g + 3]);
    b[g] = lower(low01, low23);
    b[g + 1] = upper(low01, low23);
    b[g + 2] = lower(high01, high23);
    b[g + 3] = upper(high01, high23);
  }
  HWY_UNROLL(4)
  for (int c = 0; c < 4; ++c) {
#if HWY_TARGET == HWY_AVX3
    // Blocks 0 and 2 of both operands, or 1 and 3: Highway has no such operation.
    const auto evens = [](Reg x, Reg y) HWY_ATTR { return Reg{_mm512_shuffle_f32x4(x.raw, y.raw, 0x88)}; };
    const auto odds = [](Reg x, Reg y) HWY_ATTR { return Reg{_mm512_shuffle_f32x4(x.raw, y.raw, 0xdd)}; };
    const Reg even01 = evens(b[c], b[4 + c]), odd01 = odds(b[c], b[4 + c]);
    const Reg even23 = evens(b[8 + c], b[12 + c]), odd23 = odds(b[8 + c], b[12 + c]);
    rows[c] = evens(even01, even23);
    rows[4 + c] = evens(odd01, odd23);
    rows[8 + c] = odds(even01, even23);
    rows[12 + c] = odds(odd01, odd23);
#elif HWY_TARGET == HWY_AVX2
    rows[c] = hn::ConcatLowerLower(kFloats, b[4 + c], b[c]);
    rows[4 + c] = hn::ConcatUpperUpper(kFloats, b[4 + c], b[c]);
#else
    rows[c] = b[c];
#endif
  }
}

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // ETGGML_SIMD

#endif  // toggled
