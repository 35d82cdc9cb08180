// llama_logits MODEL CACHE_TYPE N_CTX THREADS OUT CHUNK [CHUNK ...]
//
// Runs llama.cpp on chunks of token ids ("1,2,3"), one after the other in one sequence, and writes the logits of each chunk's last
// token to OUT as float32 [chunks, vocabulary]. CACHE_TYPE: f16 | f32. The batch is as large as the chunk, so that a chunk is one
// graph, as in ours.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

namespace {

std::vector<llama_token> parse_chunk(const char *text) {
  std::vector<llama_token> tokens;
  std::stringstream stream(text);
  std::string item;
  while (std::getline(stream, item, ',')) tokens.push_back(std::atoi(item.c_str()));
  return tokens;
}

int fail(const char *what) {
  std::fprintf(stderr, "llama_logits: %s\n", what);
  return 1;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 7) return fail("MODEL CACHE_TYPE N_CTX THREADS OUT CHUNK...");
  llama_log_set([](ggml_log_level level, const char *text, void *) { if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr); }, nullptr);
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  llama_model *model = llama_model_load_from_file(argv[1], model_params);
  if (model == nullptr) return fail("cannot load the model");

  std::vector<std::vector<llama_token>> chunks;
  for (int i = 6; i < argc; ++i) chunks.push_back(parse_chunk(argv[i]));
  size_t longest = 1;
  for (const auto &chunk : chunks) longest = std::max(longest, chunk.size());

  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(std::atoi(argv[3]));
  params.n_batch = params.n_ubatch = static_cast<uint32_t>(longest);
  params.n_threads = params.n_threads_batch = std::atoi(argv[4]);
  const bool f32 = std::strcmp(argv[2], "f32") == 0;
  params.type_k = params.type_v = f32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
  // llama.cpp casts an F32 cache to F16 on its flash attention path; without it the cache stays what it is.
  if (f32) params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context *context = llama_init_from_model(model, params);
  if (context == nullptr) return fail("cannot make a context");

  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::ofstream out(argv[5], std::ios::binary);
  for (auto &chunk : chunks) {
    if (llama_decode(context, llama_batch_get_one(chunk.data(), static_cast<int32_t>(chunk.size()))) != 0) return fail("llama_decode");
    const float *logits = llama_get_logits_ith(context, -1);
    out.write(reinterpret_cast<const char *>(logits), sizeof(float) * static_cast<size_t>(n_vocab));
  }
  llama_free(context);
  llama_model_free(model);
  return out ? 0 : fail("cannot write the output");
}
