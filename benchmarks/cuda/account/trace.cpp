// Every kernel and copy of a process, on the GPU's own clock, as lines of text: a library that the CUDA driver loads by
// itself, so that ours and llama.cpp's programs are looked at in the same way and unchanged.
//
//   CUDA_INJECTION64_PATH=libkernel_trace.so KERNEL_TRACE=trace.tsv program ...
//
// A line is: kind, start ns, end ns, correlation, graph node (0 outside graphs), stream, grid, block, bytes, name. The
// nodes of one launch of a CUDA graph have one correlation. account.py reads it.
#include <cupti.h>
#include <cxxabi.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <unordered_map>

namespace {

constexpr size_t kBuffer = size_t{8} << 20;

std::FILE* file = nullptr;
std::mutex mutex;
std::unordered_map<std::string, std::string>* names = nullptr;

bool check(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return true;
  const char* text = "?";
  cuptiGetResultString(result, &text);
  std::fprintf(stderr, "kernel_trace: %s: %s\n", what, text);
  return false;
}

const std::string& readable(const char* mangled) {
  std::string& name = (*names)[mangled];
  if (name.empty()) {
    int status = 0;
    char* text = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    name = status == 0 && text != nullptr ? text : mangled;
    std::free(text);
  }
  return name;
}

void write_kernel(const CUpti_ActivityKernel10& k) {
  std::fprintf(file, "kernel\t%" PRIu64 "\t%" PRIu64 "\t%u\t%" PRIu64 "\t%u\t%d,%d,%d\t%d,%d,%d\t0\t%s\n", k.start,
               k.end, k.correlationId, k.graphNodeId, k.streamId, k.gridX, k.gridY, k.gridZ, k.blockX, k.blockY,
               k.blockZ, readable(k.name).c_str());
}

void write_copy(const CUpti_ActivityMemcpy6& c) {
  const char* name = c.copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD   ? "copy to device"
                     : c.copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_DTOH ? "copy to host"
                                                                     : "copy";
  const char* host =
      c.srcKind == CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE || c.dstKind == CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE
          ? ", pageable"
          : "";
  std::fprintf(file, "copy\t%" PRIu64 "\t%" PRIu64 "\t%u\t%" PRIu64 "\t%u\t-\t-\t%" PRIu64 "\t%s%s\n", c.start, c.end,
               c.correlationId, c.graphNodeId, c.streamId, c.bytes, name, host);
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(64, kBuffer));
  *size = *buffer == nullptr ? 0 : kBuffer;
  *records = 0;
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t used) {
  const std::lock_guard<std::mutex> guard(mutex);
  CUpti_Activity* record = nullptr;
  while (file != nullptr && cuptiActivityGetNextRecord(buffer, used, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL || record->kind == CUPTI_ACTIVITY_KIND_KERNEL)
      write_kernel(*reinterpret_cast<const CUpti_ActivityKernel10*>(record));
    else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY)
      write_copy(*reinterpret_cast<const CUpti_ActivityMemcpy6*>(record));
  }
  std::free(buffer);
}

void finish() {
  check(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "flushing");
  const std::lock_guard<std::mutex> guard(mutex);
  if (file != nullptr) std::fclose(file);
  file = nullptr;
}

}  // namespace

// What the driver calls when it is initialised.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  const char* path = std::getenv("KERNEL_TRACE");
  if (path == nullptr || file != nullptr) return 1;
  file = std::fopen(path, "we");
  if (file == nullptr) {
    std::perror(path);
    return 0;
  }
  names = new std::unordered_map<std::string, std::string>();  // leaked: buffers come while the process ends
  std::atexit(finish);
  return check(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "registering") &&
         check(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "kernels") &&
         check(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY), "copies");
}
