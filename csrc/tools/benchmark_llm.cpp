// Prompt and decode speed of a language model. Knows the public header only.
//
//   benchmark_llm model.pte --gguf model.gguf --n-decode 128 --prompt-len 5
//
// A repetition is: rewind to --depth tokens, time the prompt, then time --n-decode tokens one by one. Token ids are
// small fixed numbers: they do not change the speed. --logits names the result of each token: "argmax" (the default) is
// four bytes, chosen inside; "full" also copies all logits, for programs that sample on their own.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "executorch_ggml.h"
#include "json.h"

namespace {

struct Options {
  std::string pte, gguf, cache_type = "f16", device, logits = "argmax", sampling;
  long n_decode = 128, prompt_len = 5, threads = 0, repeat = 3, warmup = 1, depth = 0;
  bool json = false;
};

constexpr const char* kUsage =
    "usage: benchmark_llm MODEL.pte [options]\n"
    "  --gguf FILE        weights (without it they must be in the .pte)\n"
    "  --n-decode N       tokens to decode in each repetition (128)\n"
    "  --prompt-len N     tokens of the prompt (5)\n"
    "  --depth N          tokens already in the cache before the prompt (0)\n"
    "  --threads N        compute threads (0 = physical cores available)\n"
    "  --repeat N         timed repetitions (3)\n"
    "  --warmup N         repetitions before them (1)\n"
    "  --cache-type TYPE  of the KV cache: f16, f32, q8_0, ... (f16)\n"
    "  --device NAME      cpu, or a device that is installed (cpu)\n"
    "  --logits POLICY    argmax: the token alone leaves the library; full: all logits are copied to the host too "
    "(argmax)\n"
    "  --sampling JSON    how tokens are chosen, as etggml_generator_create has it: {\"temperature\": 1, \"top_k\": "
    "40}\n"
    "  --json             one JSON object instead of text\n"
    "environment: GGML_PERF_LOG=1 times by phase, GGML_PROFILE=1 times by operation\n";

[[noreturn]] void fail(const char* what, const char* detail) {
  std::fprintf(stderr, "benchmark_llm: %s%s%s\n", what, *detail ? ": " : "", detail);
  std::exit(1);
}

void check(etggml_status status, const char* what) {
  if (status != ETGGML_OK) fail(what, etggml_last_error());
}

[[noreturn]] void usage_error(const std::string& message) {
  std::fprintf(stderr, "benchmark_llm: %s\n%s", message.c_str(), kUsage);
  std::exit(2);
}

long whole(const std::string& name, const char* text, long least) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < least || value > 1000000000) {
    usage_error(name + " needs a number of at least " + std::to_string(least) + ", not '" + text + "'");
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help" || name == "-h") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (name == "--json") {
      options.json = true;
    } else if (name.rfind("--", 0) != 0) {
      if (!options.pte.empty()) usage_error("more than one model: " + name);
      options.pte = name;
    } else {
      if (i + 1 == argc) usage_error(name + " needs a value, or is not known");
      const char* value = argv[++i];
      if (name == "--gguf")
        options.gguf = value;
      else if (name == "--n-decode")
        options.n_decode = whole(name, value, 0);
      else if (name == "--prompt-len")
        options.prompt_len = whole(name, value, 1);
      else if (name == "--depth")
        options.depth = whole(name, value, 0);
      else if (name == "--threads")
        options.threads = whole(name, value, 0);
      else if (name == "--repeat")
        options.repeat = whole(name, value, 1);
      else if (name == "--warmup")
        options.warmup = whole(name, value, 0);
      else if (name == "--cache-type")
        options.cache_type = value;
      else if (name == "--device")
        options.device = value;
      else if (name == "--logits")
        options.logits = value;
      else if (name == "--sampling")
        options.sampling = value;
      else
        usage_error("unknown option " + name);
    }
  }
  if (options.pte.empty()) usage_error("which model?");
  if (options.logits != "argmax" && options.logits != "full") usage_error("--logits is 'argmax' or 'full'");
  return options;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Summary {
  double median = 0, least = 0, most = 0;
};

Summary summary(std::vector<double> values) {
  if (values.empty()) return Summary();
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2, values.front(), values.back()};
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    if (!options.gguf.empty()) check(etggml_gguf_open(options.gguf.c_str(), nullptr, &gguf_), "opening the weights");
    Json load = {
        {"threads", options.threads}, {"cache_type", options.cache_type}, {"methods", Json::array({"forward"})}};
    if (!options.device.empty()) load["device"] = options.device;
    const double start = now();
    check(etggml_program_load(options.pte.c_str(), gguf_, as_text(load).c_str(), nullptr, nullptr, &program_),
          "loading");
    load_seconds = now() - start;
    check(etggml_generator_create(program_, options.sampling.c_str(), &generator_), "making the token loop");
  }
  ~Bench() {
    etggml_generator_free(generator_);
    etggml_program_free(program_);
    etggml_gguf_close(gguf_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  void run(bool timed) {
    const Json before = graph();
    run_once(timed);
    const Json after = graph();
    if (!timed) return;
    device_runs += number(after, "device_runs") - number(before, "device_runs");
    replayed += number(after, "replayed") - number(before, "replayed");
  }

  /// The part of etggml_program_stats about graphs.
  Json graph() { return member(stats(), "graph"); }

  Json stats() {
    char* text = nullptr;
    check(etggml_program_stats(program_, &text), "asking the program");
    const Json result = parse_json(text);
    etggml_string_free(text);
    return result;
  }

  double load_seconds = 0;
  double device_runs = 0, replayed = 0;  ///< timed graphs on a GPU with kernels of ours, those replayed as CUDA graphs
  std::vector<double> prompt_rate, decode_rate, step_ms;

 private:
  void run_once(bool timed) {
    check(etggml_generator_rewind(generator_, 0), "rewinding");
    if (options_.depth > 0) feed(options_.depth);
    const double start = now();
    feed(options_.prompt_len);
    const double prompt = now() - start;
    if (timed) prompt_rate.push_back(static_cast<double>(options_.prompt_len) / prompt);
    if (options_.n_decode == 0) return;
    next();  // chosen from the prompt's logits: costs no run of the model, so it is not counted
    const double begin = now();
    double last = begin;
    for (long i = 0; i < options_.n_decode; ++i) {
      next();
      const double t = now();
      if (timed) step_ms.push_back((t - last) * 1e3);
      last = t;
    }
    if (timed) decode_rate.push_back(static_cast<double>(options_.n_decode) / (last - begin));
  }

  void feed(long n) {
    std::vector<int32_t> tokens(static_cast<size_t>(n));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(1 + i % 100);
    check(etggml_generator_feed(generator_, tokens.data(), tokens.size(), nullptr, nullptr), "running the prompt");
  }
  void next() {
    int32_t token = 0;
    check(etggml_generator_next(generator_, &token), "decoding");
    if (options_.logits == "full") {
      const float* logits = nullptr;
      size_t n = 0;
      check(etggml_generator_logits(generator_, &logits, &n), "reading the logits");
      // They lie in host memory now, as llama-bench's do, which looks at none of them either.
      if (static_cast<size_t>(token) >= n || logits[token] != logits[token]) fail("the logits are broken", "");
    }
  }

  const Options options_;
  etggml_gguf* gguf_ = nullptr;
  etggml_program* program_ = nullptr;
  etggml_generator* generator_ = nullptr;
};

bool asked(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

void print_rate(const char* name, const Summary& s, const std::string& note) {
  std::printf("%-7s %10.2f tok/s  (%.2f .. %.2f)  %s\n", name, s.median, s.least, s.most, note.c_str());
}

void print_stats(const Json& stats) {
  double total = 0;
  const Json &phases = member(stats, "phases"), &ops = member(stats, "ops");
  for (const Json& phase : phases) total += number(phase, "ns");
  std::printf("\n%.0f calls, %.0f plans built\n", number(stats, "calls"), number(stats, "plan_misses"));
  std::printf("%-28s %10s %12s %7s\n", "phase", "", "ms", "%");
  for (const auto& phase : phases.items()) {
    const double ns = number(phase.value(), "ns");
    std::printf("%-28s %10s %12.3f %7.1f\n", phase.key().c_str(), "", ns / 1e6, total > 0 ? 100 * ns / total : 0);
  }
  if (ops.empty()) return;
  total = 0;
  for (const Json& op : ops) total += number(op, "ns");
  std::printf("\n%-28s %10s %12s %7s %9s\n", "operation", "count", "ms", "%", "GB/s");
  for (const Json& op : ops) {
    const double ns = number(op, "ns");
    const std::string name = text(op, "op") + " " + text(op, "detail");
    std::printf("%-28s %10.0f %12.3f %7.1f %9.2f\n", name.c_str(), number(op, "count"), ns / 1e6, 100 * ns / total,
                ns > 0 ? number(op, "bytes") / ns : 0);
  }
}

Json rates(const Summary& s) { return {{"median", s.median}, {"min", s.least}, {"max", s.most}}; }

/// With every repetition in order: they are few.
Json rates(const Summary& s, const std::vector<double>& all) {
  Json result = rates(s);
  if (!all.empty()) result["all"] = all;
  return result;
}

void print_json(const Options& options, Bench& bench, const Summary& step, bool stats) {
  const Json graph = bench.graph();
  Json result = {
      {"model", options.pte},
      {"gguf", options.gguf},
      {"version", etggml_version()},
      {"threads", options.threads > 0 ? options.threads : etggml_default_threads()},
      {"cache_type", options.cache_type},
      {"logits", options.logits},
      {"prompt_len", options.prompt_len},
      {"depth", options.depth},
      {"n_decode", options.n_decode},
      {"repeat", options.repeat},
      {"load_seconds", bench.load_seconds},
      {"prompt_tok_s", rates(summary(bench.prompt_rate), bench.prompt_rate)},
      {"decode_tok_s", rates(summary(bench.decode_rate), bench.decode_rate)},
      {"step_ms", rates(step)},
      {"graph",
       {{"nodes", member(graph, "nodes")},
        {"calls", member(graph, "calls")},
        {"splits", member(graph, "splits")},
        {"device_runs", static_cast<int64_t>(bench.device_runs)},
        {"replayed", static_cast<int64_t>(bench.replayed)}}},
  };
  if (stats) result["stats"] = bench.stats();
  std::printf("%s\n", as_text(result).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (etggml_abi_version() != ETGGML_ABI_VERSION) fail("the library is of another version than this program", "");
  Bench bench(options);
  for (long i = 0; i < options.warmup; ++i) bench.run(false);
  for (long i = 0; i < options.repeat; ++i) bench.run(true);
  const Summary prompt = summary(bench.prompt_rate), decode = summary(bench.decode_rate), step = summary(bench.step_ms);
  const bool stats = asked("GGML_PERF_LOG") || asked("GGML_PROFILE");

  if (options.json) {
    print_json(options, bench, step, stats);
    return 0;
  }
  std::printf("loaded in %.2f s; cache %s, depth %ld, logits: %s; median of %ld (least .. most)\n", bench.load_seconds,
              options.cache_type.c_str(), options.depth, options.logits.c_str(), options.repeat);
  print_rate("prompt", prompt, std::to_string(options.prompt_len) + " tokens");
  if (options.n_decode > 0) {
    char note[96];
    std::snprintf(note, sizeof note, "%ld tokens, %.2f ms a token (%.2f .. %.2f)", options.n_decode, step.median,
                  step.least, step.most);
    print_rate("decode", decode, note);
  }
  if (bench.device_runs > 0) {
    const Json graph = bench.graph();
    std::printf("graph   %10.0f nodes, %.0f of them kernels of ours; %.1f%% of the calls replayed a CUDA graph\n",
                number(graph, "nodes"), number(graph, "calls"), 100 * bench.replayed / bench.device_runs);
  }
  if (stats) print_stats(bench.stats());
  return 0;
}
