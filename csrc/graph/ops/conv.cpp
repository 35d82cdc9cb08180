// Convolution of images and volumes, depthwise convolution, pooling. Images are [W, H, C, N].
#include "graph/follow.h"
#include "graph/op_row.h"
#include "graph/product.h"
#include "ir/validate.h"

namespace etggml::graph {
namespace {

constexpr char kOutOfRange[] = "a stride, dilation or padding is out of range";

int64_t conv_size(int64_t in, int64_t kernel, int stride, int padding, int dilation) {
  const int64_t room = in + 2 * int64_t{padding} - int64_t{dilation} * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

/// By ggml's kernel for it.
Result<ggml_tensor*> ggml_depthwise(NodeBuilder& b, const kernels::ConvArgs& args) {
  // Channels-last images give a channels-last result, which is not the layout the graph promises.
  if (ggml_is_contiguous_channels(args.image)) return b.fail("src[1] is laid out channels last");
  return ggml_conv_2d_dw_direct(b.ctx(), args.kernel, args.image, args.stride[0], args.stride[1], args.padding[0],
                                args.padding[1], args.dilation[0], args.dilation[1]);
}

/// By patches and one product. With the patches as first operand it is [OW * OH * N, OC]: for one image that is the
/// result already.
Result<ggml_tensor*> ggml_dense(NodeBuilder& b, const kernels::ConvArgs& args) {
  ggml_tensor *kernel = args.kernel, *image = args.image;
  // The kernel of im2col keeps the distance between images in an int.
  if (image->nb[3] > INT32_MAX) return b.fail("an image of %zu bytes is too large", image->nb[3]);
  // Nothing declares the shape of the patches, so nobody has checked it.
  const Shape patches_ne{kernel->ne[0] * kernel->ne[1] * kernel->ne[2], args.out_w, args.out_h, image->ne[3]};
  if (const std::string problem = ir::shape_problem(patches_ne); !problem.empty())
    return b.fail("patches of shape %s: %s", shape_text(patches_ne).c_str(), problem.c_str());
  ggml_context* ctx = b.ctx();
  ggml_tensor* patches =
      ggml_im2col(ctx, kernel, image, args.stride[0], args.stride[1], args.padding[0], args.padding[1],
                  args.dilation[0], args.dilation[1], true, kernel->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : b.type());
  const int64_t k = patches->ne[0], pixels = args.out_w * args.out_h, count = image->ne[3], outputs = kernel->ne[3];
  ggml_tensor* y =
      product(b, ggml_reshape_2d(ctx, patches, k, pixels * count), ggml_reshape_2d(ctx, kernel, k, outputs));
  if (count == 1) return ggml_reshape_4d(ctx, y, args.out_w, args.out_h, outputs, 1);
  y = ggml_permute(ctx, ggml_reshape_3d(ctx, y, pixels, count, outputs), 0, 2, 1, 3);
  return ggml_cont_4d(ctx, y, args.out_w, args.out_h, outputs, count);
}

/// A volume by patches and one product: [OW * OH * OD, OC * N] in the layout of the result.
Result<ggml_tensor*> ggml_volume(NodeBuilder& b, const kernels::Conv3dArgs& args, int64_t outputs, int64_t count) {
  ggml_tensor *kernel = args.kernel, *volume = args.volume;
  // The kernel of im2col keeps distances between volumes in an int.
  if (volume->nb[3] > static_cast<size_t>(INT32_MAX / args.channels))
    return b.fail("a volume of %zu bytes is too large", volume->nb[3]);
  const int64_t k = kernel->ne[0] * kernel->ne[1] * kernel->ne[2] * args.channels;
  const Shape patches_ne{k, args.out_w, args.out_h, args.out_d * count};
  if (const std::string problem = ir::shape_problem(patches_ne); !problem.empty())
    return b.fail("patches of shape %s: %s", shape_text(patches_ne).c_str(), problem.c_str());
  ggml_context* ctx = b.ctx();
  ggml_tensor* patches =
      ggml_im2col_3d(ctx, kernel, volume, args.channels, args.stride[0], args.stride[1], args.stride[2],
                     args.padding[0], args.padding[1], args.padding[2], args.dilation[0], args.dilation[1],
                     args.dilation[2], kernel->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : b.type());
  const int64_t pixels = args.out_w * args.out_h * args.out_d;
  ggml_tensor* y =
      product(b, ggml_reshape_2d(ctx, patches, k, pixels * count), ggml_reshape_2d(ctx, kernel, k, outputs));
  if (count == 1) return y;
  return ggml_cont(ctx, ggml_permute(ctx, ggml_reshape_3d(ctx, y, pixels, count, outputs), 0, 2, 1, 3));
}

Status check_im2col(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Im2col();
  return ir::in_range(1, {op.s0(), op.d0()}) && ir::in_range(op.is_2d() ? 1 : 0, {op.s1(), op.d1()}) &&
                 ir::in_range(0, {op.p0(), op.p1()})
             ? ok_status()
             : c.fail(kOutOfRange);
}

// src: kernel (for its shape alone), image. Two-dimensional: [KW, KH, IC, OC], [IW, IH, IC, N] -> [IC*KH*KW, OW, OH,
// N]; one-dimensional: [K, IC, OC], [IL, IC, N] -> [IC*K, OL, N].
Result<ggml_tensor*> build_im2col(NodeBuilder& b) {
  const auto* op = b.node().op_as_Im2col();
  ggml_tensor* kernel = b.src(0);
  ggml_tensor* image = b.src(1);
  if (b.type() != GGML_TYPE_F32 && b.type() != GGML_TYPE_F16) return b.fail("type must be f32 or f16");
  if (b.type() == GGML_TYPE_F32) {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  } else {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32, GGML_TYPE_F16}));
  }
  ETGGML_RETURN_IF_ERROR(b.contiguous(1));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(1));
  const bool is_2d = op->is_2d();
  const bool fits = is_2d ? kernel->ne[2] == image->ne[2] : kernel->ne[1] == image->ne[1] && image->ne[3] == 1;
  if (!fits) {
    return b.fail("a kernel of shape %s over an image of shape %s", shape_text(shape_of(kernel)).c_str(),
                  shape_text(shape_of(image)).c_str());
  }
  // The kernel keeps the distance between images in an int.
  if (image->nb[is_2d ? 3 : 2] > INT32_MAX)
    return b.fail("an image of %zu bytes is too large", image->nb[is_2d ? 3 : 2]);
  const int64_t out_w = conv_size(image->ne[0], kernel->ne[0], op->s0(), op->p0(), op->d0());
  const int64_t out_h = is_2d ? conv_size(image->ne[1], kernel->ne[1], op->s1(), op->p1(), op->d1()) : 1;
  if (out_w < 1 || out_h < 1) return b.fail("the image is smaller than the kernel");
  if (is_2d) {
    ETGGML_RETURN_IF_ERROR(b.result_shape({kernel->ne[0] * kernel->ne[1] * kernel->ne[2], out_w, out_h, image->ne[3]}));
  } else {
    ETGGML_RETURN_IF_ERROR(b.result_shape({kernel->ne[0] * kernel->ne[1], out_w, image->ne[2], 1}));
  }
  const ggml_type type = b.type();
  return adapt(b, {image}, [=](ggml_context* ctx, const Sources& s) {
    return ggml_im2col(ctx, kernel, s[0], op->s0(), op->s1(), op->p0(), op->p1(), op->d0(), op->d1(), is_2d, type);
  });
}

Status check_conv2d_dw(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Conv2dDw();
  return ir::in_range(1, {op.s0(), op.s1(), op.d0(), op.d1()}) && ir::in_range(0, {op.p0(), op.p1()})
             ? ok_status()
             : c.fail(kOutOfRange);
}

// src: kernel [KW, KH, 1, C], image [W, H, C, N] -> [OW, OH, C, N].
Result<ggml_tensor*> build_conv2d_dw(NodeBuilder& b) {
  const auto* op = b.node().op_as_Conv2dDw();
  ggml_tensor* kernel = b.src(0);
  ggml_tensor* image = b.src(1);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  for (uint32_t i = 0; i < 2; ++i) {
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  }
  // Channels-last images give a channels-last result, which is not the layout the graph promises.
  if (ggml_is_contiguous_channels(image)) return b.fail("src[1] is laid out channels last");
  if (kernel->ne[2] != 1 || kernel->ne[3] != image->ne[2]) {
    return b.fail("a kernel of shape %s over an image of shape %s", shape_text(shape_of(kernel)).c_str(),
                  shape_text(shape_of(image)).c_str());
  }
  const int64_t out_w = conv_size(image->ne[0], kernel->ne[0], op->s0(), op->p0(), op->d0());
  const int64_t out_h = conv_size(image->ne[1], kernel->ne[1], op->s1(), op->p1(), op->d1());
  if (out_w < 1 || out_h < 1) return b.fail("the image is smaller than the kernel");
  ETGGML_RETURN_IF_ERROR(b.result_shape({out_w, out_h, image->ne[2], image->ne[3]}));
  return ggml_conv_2d_dw_direct(b.ctx(), kernel, image, op->s0(), op->s1(), op->p0(), op->p1(), op->d0(), op->d1());
}

Status check_conv2d(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Conv2d();
  if (!ir::in_range(1, {op.s0(), op.s1(), op.d0(), op.d1()}) || !ir::in_range(0, {op.p0(), op.p1()}))
    return c.fail(kOutOfRange);
  return c.epilogue(op.then());
}

// src: kernel [KW, KH, C | 1, OC], image [W, H, C, N], optional bias [OC] -> [OW, OH, OC, N].
Result<ggml_tensor*> build_conv2d(NodeBuilder& b) {
  const auto* op = b.node().op_as_Conv2d();
  kernels::ConvArgs args;
  args.kernel = b.src(0);
  args.image = b.src(1);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  for (uint32_t i = 0; i < 2; ++i) {
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  }
  ggml_tensor *kernel = args.kernel, *image = args.image;
  const bool depthwise = kernel->ne[2] == 1 && image->ne[2] > 1;
  if (depthwise ? kernel->ne[3] != image->ne[2] : kernel->ne[2] != image->ne[2]) {
    return b.fail("a kernel of shape %s over an image of shape %s", shape_text(shape_of(kernel)).c_str(),
                  shape_text(shape_of(image)).c_str());
  }
  args.stride[0] = op->s0(), args.stride[1] = op->s1();
  args.padding[0] = op->p0(), args.padding[1] = op->p1();
  args.dilation[0] = op->d0(), args.dilation[1] = op->d1();
  args.out_w = conv_size(image->ne[0], kernel->ne[0], op->s0(), op->p0(), op->d0());
  args.out_h = conv_size(image->ne[1], kernel->ne[1], op->s1(), op->p1(), op->d1());
  if (args.out_w < 1 || args.out_h < 1) return b.fail("the image is smaller than the kernel");
  ETGGML_RETURN_IF_ERROR(b.result_shape({args.out_w, args.out_h, kernel->ne[3], image->ne[3]}));
  ETGGML_ASSIGN_OR_RETURN(args.fused, fused_of(b, op->then(), kernel->ne[3]));
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->conv_2d(b.ctx(), args)) return ours;
  }
  ETGGML_ASSIGN_OR_RETURN(ggml_tensor * y, depthwise ? ggml_depthwise(b, args) : ggml_dense(b, args));
  ggml_tensor* bias = args.fused.bias ? ggml_reshape_3d(b.ctx(), args.fused.bias, 1, 1, kernel->ne[3]) : nullptr;
  return follow(b, y, bias, args.fused.epilogue);
}

Status check_conv3d(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Conv3d();
  if (op.channels() < 1) return c.fail("channels %d is below 1", op.channels());
  if (!ir::in_range(1, {op.s0(), op.s1(), op.s2(), op.d0(), op.d1(), op.d2()}) ||
      !ir::in_range(0, {op.p0(), op.p1(), op.p2()})) {
    return c.fail(kOutOfRange);
  }
  return c.epilogue(op.then());
}

// src: kernel [KW, KH, KD, C * OC], volume [W, H, D, C * N], optional bias [OC] -> [OW, OH, OD, OC * N].
Result<ggml_tensor*> build_conv3d(NodeBuilder& b) {
  const auto* op = b.node().op_as_Conv3d();
  kernels::Conv3dArgs args;
  args.kernel = b.src(0);
  args.volume = b.src(1);
  args.channels = op->channels();
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  for (uint32_t i = 0; i < 2; ++i) {
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  }
  ggml_tensor *kernel = args.kernel, *volume = args.volume;
  if (kernel->ne[3] % args.channels != 0 || volume->ne[3] % args.channels != 0) {
    return b.fail("a kernel of shape %s over a volume of shape %s, of %lld channels",
                  shape_text(shape_of(kernel)).c_str(), shape_text(shape_of(volume)).c_str(),
                  static_cast<long long>(args.channels));
  }
  const int strides[3] = {op->s0(), op->s1(), op->s2()}, paddings[3] = {op->p0(), op->p1(), op->p2()},
            dilations[3] = {op->d0(), op->d1(), op->d2()};
  int64_t* const sizes[3] = {&args.out_w, &args.out_h, &args.out_d};
  for (int i = 0; i < 3; ++i) {
    args.stride[i] = strides[i], args.padding[i] = paddings[i], args.dilation[i] = dilations[i];
    *sizes[i] = conv_size(volume->ne[i], kernel->ne[i], strides[i], paddings[i], dilations[i]);
    if (*sizes[i] < 1) return b.fail("the volume is smaller than the kernel");
  }
  const int64_t outputs = kernel->ne[3] / args.channels, count = volume->ne[3] / args.channels;
  ETGGML_RETURN_IF_ERROR(b.result_shape({args.out_w, args.out_h, args.out_d, outputs * count}));
  ETGGML_ASSIGN_OR_RETURN(args.fused, fused_of(b, op->then(), outputs));
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->conv_3d(b.ctx(), args)) return ours;
  }
  ETGGML_ASSIGN_OR_RETURN(ggml_tensor * y, ggml_volume(b, args, outputs, count));
  ggml_context* ctx = b.ctx();
  // As one image for each result: [OW * OH * OD, OC, N], where a bias repeats.
  y = ggml_reshape_3d(ctx, y, args.out_w * args.out_h * args.out_d, outputs, count);
  ggml_tensor* bias = args.fused.bias ? ggml_reshape_2d(ctx, args.fused.bias, 1, outputs) : nullptr;
  y = follow(b, y, bias, args.fused.epilogue);
  return ggml_reshape_4d(ctx, y, args.out_w, args.out_h, args.out_d, outputs * count);
}

Status check_pool2d(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Pool2d();
  ETGGML_RETURN_IF_ERROR(c.known("kind", op.kind(), fb::PoolKind_MIN, fb::PoolKind_MAX));
  if (!ir::in_range(1, {op.k0(), op.k1(), op.s0(), op.s1()}) || !ir::in_range(0, {op.p0(), op.p1()}) ||
      op.k0() > 32767 || op.k1() > 32767) {
    return c.fail("a kernel size, stride or padding is out of range");
  }
  return ok_status();
}

Result<ggml_tensor*> build_pool2d(NodeBuilder& b) {
  const auto* op = b.node().op_as_Pool2d();
  ggml_tensor* x = b.src(0);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous(0));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  // ggml computes the size in float: keep every term exact.
  if (x->ne[0] + 2 * op->p0() >= (1 << 24) || x->ne[1] + 2 * op->p1() >= (1 << 24))
    return b.fail("the image is too large");
  const int64_t out_w = conv_size(x->ne[0], op->k0(), op->s0(), op->p0(), 1);
  const int64_t out_h = conv_size(x->ne[1], op->k1(), op->s1(), op->p1(), 1);
  if (out_w < 1 || out_h < 1) return b.fail("the image is smaller than the window");
  ETGGML_RETURN_IF_ERROR(b.result_shape({out_w, out_h, x->ne[2], x->ne[3]}));
  if (b.options().kernels) {
    kernels::PoolArgs args;
    args.image = x;
    args.max = op->kind() == fb::PoolKind_Max;
    args.window[0] = op->k0(), args.window[1] = op->k1();
    args.stride[0] = op->s0(), args.stride[1] = op->s1();
    args.padding[0] = op->p0(), args.padding[1] = op->p1();
    args.out_w = out_w, args.out_h = out_h;
    if (ggml_tensor* ours = b.options().kernels->pool_2d(b.ctx(), args)) return ours;
  }
  return adapt(b, {x}, [op](ggml_context* ctx, const Sources& s) {
    const ggml_op_pool kind = op->kind() == fb::PoolKind_Max ? GGML_OP_POOL_MAX : GGML_OP_POOL_AVG;
    return ggml_pool_2d(ctx, s[0], kind, op->k0(), op->k1(), op->s0(), op->s1(), static_cast<float>(op->p0()),
                        static_cast<float>(op->p1()));
  });
}

}  // namespace

const OpRow kIm2colRow = row<fb::Op_Im2col, build_im2col, check_im2col>();
const OpRow kConv2dDwRow = row<fb::Op_Conv2dDw, build_conv2d_dw, check_conv2d_dw>();
const OpRow kConv2dRow = row<fb::Op_Conv2d, build_conv2d, check_conv2d>();
const OpRow kConv3dRow = row<fb::Op_Conv3d, build_conv3d, check_conv3d>();
const OpRow kPool2dRow = row<fb::Op_Pool2d, build_pool2d, check_pool2d>();

}  // namespace etggml::graph
