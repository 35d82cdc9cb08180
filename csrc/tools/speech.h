// Shared by the speech runners: a loaded model, calls of its methods, the facts and the vocabulary in its .pte.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "executorch_ggml.h"
#include "json.h"
#include "wav.h"

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

/// Command line of both runners: --model, --weights, --audio, --device, --threads.
struct SpeechOptions {
  std::string model, weights, audio, device;
  long threads = 0;

  static SpeechOptions parse(int argc, char** argv, const char* usage) {
    SpeechOptions o;
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      if (i + 1 == argc) usage_error(usage, name + " needs a value");
      if (name == "--model")
        o.model = argv[i + 1];
      else if (name == "--weights")
        o.weights = argv[i + 1];
      else if (name == "--audio")
        o.audio = argv[i + 1];
      else if (name == "--device")
        o.device = argv[i + 1];
      else if (name == "--threads")
        o.threads = std::strtol(argv[i + 1], nullptr, 10);
      else
        usage_error(usage, "unknown option " + name);
    }
    if (o.model.empty() || o.audio.empty()) usage_error(usage, "--model and --audio are needed");
    return o;
  }

  [[noreturn]] static void usage_error(const char* usage, const std::string& message) {
    std::fprintf(stderr, "error: %s\n%s", message.c_str(), usage);
    std::exit(2);
  }
};

class SpeechModel {
 public:
  SpeechModel(const SpeechOptions& options, const char* family) : path_(options.model) {
    etggml_gguf* gguf = nullptr;
    if (!options.weights.empty()) check(etggml_gguf_open(options.weights.c_str(), nullptr, &gguf));
    Json json = {{"max_plans", 4}, {"threads", options.threads}};
    if (!options.device.empty()) json["device"] = options.device;
    check(etggml_program_load(path_.c_str(), gguf, as_text(json).c_str(), nullptr, nullptr, &program_));
    etggml_gguf_close(gguf);  // the program keeps the mapping
    facts_ = parse_json(constant("speech_config"));
    if (!facts_.is_object()) fail(path_ + ": speech_config is not a JSON object");
    const std::string found = text(facts_, "family");
    if (found != family) fail(path_ + ": a '" + found + "' model, not " + family);
    read_vocabulary(constant("speech_vocabulary"));
  }
  SpeechModel(const SpeechModel&) = delete;
  SpeechModel& operator=(const SpeechModel&) = delete;
  ~SpeechModel() { etggml_program_free(program_); }

  const Json& facts() const { return facts_; }
  long number(const char* name) const {
    const Json& value = member(facts_, name);
    if (!value.is_number()) fail(path_ + ": speech_config has no " + name);
    return static_cast<long>(value.get<double>());
  }
  std::string piece(int64_t token) const {
    return token >= 0 && static_cast<size_t>(token) < pieces_.size() ? pieces_[static_cast<size_t>(token)] : "";
  }

  static etggml_tensor floats(const float* data, std::vector<int64_t> shape) { return make(6, 4, data, shape); }
  static etggml_tensor ids(const int64_t* data, std::vector<int64_t> shape) { return make(4, 8, data, shape); }

  /// The outputs belong to the program and are valid until the next call.
  std::vector<etggml_tensor> run(const char* method, const std::vector<etggml_tensor>& in) {
    std::vector<etggml_tensor> out(8);
    size_t count = out.size();
    check(etggml_program_execute(program_, method, in.data(), in.size(), out.data(), &count));
    out.resize(count);
    return out;
  }

  /// A float output, copied.
  Tensor floats_of(const etggml_tensor& t) const {
    Tensor result;
    result.shape.assign(t.shape, t.shape + t.ndim);
    const float* data = static_cast<const float*>(t.data);
    result.data.assign(data, data + t.nbytes / sizeof(float));
    return result;
  }

 private:
  static etggml_tensor make(int32_t dtype, size_t width, const void* data, const std::vector<int64_t>& shape) {
    etggml_tensor t{};
    t.dtype = dtype;
    t.ndim = static_cast<int32_t>(shape.size());
    size_t count = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
      t.shape[i] = shape[i];
      count *= static_cast<size_t>(shape[i]);
    }
    t.data = const_cast<void*>(data);
    t.nbytes = count * width;
    return t;
  }

  static void check(etggml_status status) {
    if (status != ETGGML_OK) fail(etggml_last_error());
  }

  std::string constant(const char* method) {
    const etggml_tensor t = run(method, {}).at(0);
    return std::string(static_cast<const char*>(t.data), t.nbytes);
  }

  void read_vocabulary(const std::string& data) {
    const auto number_at = [&](size_t at) {
      return wav_detail::number(reinterpret_cast<const uint8_t*>(data.data()) + at, 4);
    };
    const size_t count = data.size() >= 4 ? number_at(0) : 0;
    size_t at = 4 + 4 * count;
    if (at > data.size()) fail(path_ + ": the vocabulary is cut off");
    for (size_t i = 0; i < count; ++i) {
      const size_t length = number_at(4 + 4 * i);
      if (length > data.size() - at) fail(path_ + ": the vocabulary is cut off");
      pieces_.push_back(data.substr(at, length));
      at += length;
    }
  }

  std::string path_;
  etggml_program* program_ = nullptr;
  Json facts_;
  std::vector<std::string> pieces_;
};

/// The recording, which must have the model's sample rate: there is no resampler here.
inline std::vector<float> load_samples(const std::string& path, long rate) {
  Wav wav;
  const std::string problem = read_wav(path.c_str(), &wav);
  if (!problem.empty()) fail(path + ": " + problem);
  if (wav.rate != static_cast<uint32_t>(rate))
    fail(path + ": " + std::to_string(wav.rate) + " Hz; this program takes " + std::to_string(rate) +
         " Hz (executorch-ggml transcribe takes any rate)");
  return std::move(wav.samples);
}

inline void report(double audio_seconds, double seconds) {
  std::fprintf(stderr, "[%.1f s of audio, real-time factor %.3f]\n", audio_seconds, seconds / audio_seconds);
}
