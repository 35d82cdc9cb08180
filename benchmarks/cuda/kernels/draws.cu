// Draws on the GPU against their plain form, and how long one takes inside a CUDA graph, beside copying all logits.
//
//   nvcc -std=c++17 -O3 -arch=sm_90 -I csrc -I <ggml>/include benchmarks/cuda/kernels/draws.cu csrc/cuda/*.cu
//   csrc/fusion/host_sample.cpp -L <package>/lib -letggml-base -o draws
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "check.cuh"
#include "cuda/kernels.cuh"
#include "fusion/host_sample.h"

namespace {

using namespace etggml::cuda;

std::mt19937_64 rng(5);
double uniform(double from, double to) { return std::uniform_real_distribution<double>(from, to)(rng); }

ggml_tensor shaped(ggml_type type, int64_t n, void* data) {
  ggml_tensor t = {};
  t.type = type;
  t.ne[0] = n;
  t.ne[1] = t.ne[2] = t.ne[3] = 1;
  t.data = data;
  return t;
}

/// The same call on both sides.
class Case {
 public:
  explicit Case(int64_t n) : n_(n), x_(static_cast<size_t>(n)) {
    CHECK(cudaMalloc(&memory_[0], x_.size() * sizeof(float)));
    CHECK(cudaMalloc(&memory_[1], sizeof(SampleParams)));
    CHECK(cudaMalloc(&memory_[2], sizeof(int32_t)));
    const size_t scratch = static_cast<size_t>(sample_scratch_elements(n)) * sizeof(float);
    CHECK(cudaMalloc(&memory_[3], scratch));
    CHECK(cudaMemset(memory_[3], 0, scratch));
    CHECK(cudaMallocHost(&pinned_, x_.size() * sizeof(float)));
    CHECK(cudaStreamCreate(&stream_));
    for (int i = 0; i < 4; ++i) device_[i] = shaped(GGML_TYPE_F32, i == 0 ? n : 1, memory_[i]);
    host_[0] = shaped(GGML_TYPE_F32, n, x_.data());
    host_[1] = shaped(GGML_TYPE_F32, kSampleParams, &params);
    host_[2] = shaped(GGML_TYPE_I32, 1, &wanted_);
    host_[3] = shaped(GGML_TYPE_F32, 1, nullptr);
  }
  ~Case() {
    for (void* memory : memory_) cudaFree(memory);
    cudaFreeHost(pinned_);
    cudaStreamDestroy(stream_);
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  void fill(double spread, double coarse) {
    for (float& v : x_) {
      const double value = std::normal_distribution<double>(0, spread)(rng);
      v = static_cast<float>(coarse > 0 ? std::round(value * coarse) / coarse : value);
      if (rng() % 50 == 0) v = -INFINITY;
    }
    CHECK(cudaMemcpy(memory_[0], x_.data(), x_.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  void set(size_t index, float value) {
    x_[index] = value;
    CHECK(cudaMemcpy(memory_[0], x_.data(), x_.size() * sizeof(float), cudaMemcpyHostToDevice));
  }

  /// Whether both choose the same.
  bool agree() {
    CHECK(cudaMemcpy(memory_[1], &params, sizeof(params), cudaMemcpyHostToDevice));
    const SampleDesc on_host = call(host_), on_device = call(device_);
    etggml::fusion::sample_on_host(on_host);
    if (!launch_sample(0, stream_, on_device)) return false;
    CHECK(cudaStreamSynchronize(stream_));
    int32_t got = 0;
    CHECK(cudaMemcpy(&got, memory_[2], sizeof(got), cudaMemcpyDeviceToHost));
    if (got == wanted_) return true;
    std::printf("n %lld k %d top_p %g min_p %g scale %g u %.17g: %d, not %d\n", static_cast<long long>(n_),
                params.top_k, params.top_p, std::exp(params.log_min_p), params.scale, params.uniform, got, wanted_);
    return false;
  }

  enum class Work { Draw, Argmax, Copy, CopyPageable };
  /// Microseconds, waiting included.
  double time(Work work) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t captured = nullptr;
    if (work == Work::Draw || work == Work::Argmax) {
      CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
      if (work == Work::Draw) {
        launch_sample(0, stream_, call(device_));
      } else {
        ArgmaxDesc greedy = {};
        greedy.x = &device_[0];
        greedy.out = &device_[2];
        greedy.scratch = &device_[3];
        launch_argmax(0, stream_, greedy);
      }
      CHECK(cudaStreamEndCapture(stream_, &graph));
      CHECK(cudaGraphInstantiate(&captured, graph, 0));
    }
    std::vector<double> times;
    cudaEvent_t begin, end;
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    void* to = work == Work::CopyPageable ? static_cast<void*>(x_.data()) : pinned_;
    for (int i = 0; i < 200; ++i) {
      CHECK(cudaEventRecord(begin, stream_));
      if (captured != nullptr)
        CHECK(cudaGraphLaunch(captured, stream_));
      else
        CHECK(cudaMemcpyAsync(to, memory_[0], x_.size() * sizeof(float), cudaMemcpyDeviceToHost, stream_));
      CHECK(cudaEventRecord(end, stream_));
      CHECK(cudaStreamSynchronize(stream_));
      float ms = 0;
      CHECK(cudaEventElapsedTime(&ms, begin, end));
      times.push_back(ms * 1e3);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  SampleParams params = {};

 private:
  static SampleDesc call(const ggml_tensor* t) {
    SampleDesc made = {};
    made.kind = Kind::Sample;
    made.x = &t[0];
    made.params = &t[1];
    made.out = &t[2];
    made.scratch = &t[3];
    return made;
  }

  int64_t n_;
  std::vector<float> x_;
  int32_t wanted_ = 0;
  void* memory_[4] = {};
  void* pinned_ = nullptr;
  cudaStream_t stream_ = nullptr;
  ggml_tensor device_[4], host_[4];
};

}  // namespace

int main() {
  int wrong = 0, draws = 0;
  for (const int64_t n : {1, 2, 31, 500, 4099, 32000, 151936}) {
    Case test(n);
    for (int round = 0; round < 60; ++round) {
      test.fill(uniform(0.01, 8), round % 3 == 0 ? 2 : round % 17 == 0 ? 0.01 : 0);  // many ties; nearly all equal
      for (int i = 0; i < 8; ++i) {
        const double u = uniform(0, 1);
        test.params.uniform = i == 0 ? 0 : i == 1 ? 1 - 0x1p-53 : u;
        test.params.scale = 1 / uniform(0.05, 3);
        test.params.top_p = i % 2 == 0 ? 1 : uniform(0.01, 1);
        test.params.log_min_p = i % 3 == 0 ? static_cast<float>(std::log(uniform(1e-6, 1))) : -INFINITY;
        test.params.top_k = static_cast<int32_t>(1 + rng() % (i % 4 == 0 ? kMaxTopK : 50));
        wrong += test.agree() ? 0 : 1;
        ++draws;
      }
    }
    for (const float broken : {NAN, INFINITY, 1.0f}) {  // the last one: in order again afterwards
      test.set(static_cast<size_t>(n) - 1, broken);
      wrong += test.agree() ? 0 : 1;
      ++draws;
    }
  }
  std::printf("%d draws, %d unlike the plain form\n", draws, wrong);
  Case large(151936);
  large.fill(3, 0);
  for (const int k : {20, 40, 1024}) {
    large.params = {0.3, 1.25, 0.95, -INFINITY, k};
    wrong += large.agree() ? 0 : 1;
    std::printf("top_k %4d: %.1f us\n", k, large.time(Case::Work::Draw));
  }
  std::printf("argmax:     %.1f us\n", large.time(Case::Work::Argmax));
  std::printf("608 kB to pinned memory %.1f us, to pageable memory %.1f us\n", large.time(Case::Work::Copy),
              large.time(Case::Work::CopyPageable));
  return wrong == 0 ? 0 : 1;
}
