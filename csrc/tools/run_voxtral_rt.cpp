// Transcribes a WAV file of 16 kHz with a Voxtral Realtime .pte, a token at a time as from a microphone. Knows the
// public header only.
//
//   run_voxtral_rt --model voxtral.pte --weights voxtral.gguf --audio speech.wav
#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "speech.h"

namespace {

constexpr const char* kUsage =
    "usage: run_voxtral_rt --model MODEL.pte --weights FILE.gguf --audio FILE.wav [--device NAME] [--threads N]\n";

/// Rows of a sliding cache, as the transcriber in Python has them: when they are used up, the last `window` of them are
/// moved to the front.
class Rows {
 public:
  Rows(SpeechModel* model, const char* name, bool slides)
      : model_(*model), compact_(std::string("compact_") + name), slides_(slides) {
    rows_ = model->number((std::string(name) + "_rows").c_str());
    window_ = static_cast<long>(number(member(model->facts(), name), "window"));
  }

  void take(long count, std::vector<int64_t>* positions, std::vector<int64_t>* rows) {
    if (row_ + count > rows_) {
      if (!slides_) fail("the recording is longer than was exported; export with --streaming");
      const std::vector<int64_t> keep = range(row_ - window_, window_);
      model_.run(compact_.c_str(), {SpeechModel::ids(keep.data(), {window_})});
      row_ = window_;
    }
    *positions = range(position_, count);
    *rows = range(row_, count);
    position_ += count;
    row_ += count;
  }

 private:
  static std::vector<int64_t> range(long first, long count) {
    std::vector<int64_t> values(static_cast<size_t>(count));
    std::iota(values.begin(), values.end(), first);
    return values;
  }

  SpeechModel& model_;
  const std::string compact_;
  const bool slides_;
  long rows_ = 0, window_ = 0, position_ = 0, row_ = 0;
};

void transcribe(SpeechModel* model, const std::vector<float>& samples) {
  const long hop = model->number("hop"), window = model->number("window"), mels = model->number("mels");
  const long each = model->number("downsample"), frames = 2 * each, token_samples = frames * hop;
  const long left = model->number("left_pad_tokens"), delay = model->number("delay_tokens");
  const long length = static_cast<long>(samples.size());
  const long tokens = left + (length + token_samples - 1) / token_samples + delay + model->number("right_pad_tokens");
  // Half a window before the first frame and behind the last.
  std::vector<float> padded(static_cast<size_t>(tokens * token_samples + window));
  std::copy(samples.begin(), samples.end(), padded.begin() + window / 2 + left * token_samples);
  const bool streaming = member(model->facts(), "streaming") == Json(true);
  Rows encoder_rows(model, "encoder", true), decoder_rows(model, "decoder", streaming);
  std::vector<int64_t> positions, rows, ids = {model->number("bos")};
  ids.resize(static_cast<size_t>(1 + left + delay), model->number("pad"));
  std::vector<float> waiting;
  bool started = false;
  for (long token = 0; token < tokens; ++token) {
    const float* piece = padded.data() + token * token_samples;
    const Tensor mel =
        model->floats_of(model->run("log_mel", {SpeechModel::floats(piece, {1, hop * frames + window - hop})}).at(0));
    encoder_rows.take(each, &positions, &rows);
    const auto out =
        model->run("encoder", {SpeechModel::floats(mel.data.data(), {1, mels, frames}),
                               SpeechModel::ids(positions.data(), {each}), SpeechModel::ids(rows.data(), {each})});
    const Tensor audio = model->floats_of(out.at(0));
    waiting.insert(waiting.end(), audio.data.begin(), audio.data.end());
    const long width = static_cast<long>(audio.shape.back()), count = static_cast<long>(ids.size());
    if (static_cast<long>(waiting.size()) < count * width) continue;  // the prompt is not covered yet
    decoder_rows.take(count, &positions, &rows);
    const auto logits = model->run(
        "decoder", {SpeechModel::floats(waiting.data(), {1, count, width}), SpeechModel::ids(ids.data(), {1, count}),
                    SpeechModel::ids(positions.data(), {count}), SpeechModel::ids(rows.data(), {count})});
    waiting.clear();
    const float* first = static_cast<const float*>(logits.at(0).data);
    const int64_t best = std::max_element(first, first + logits.at(0).nbytes / sizeof(float)) - first;
    ids.assign(1, best);
    std::string text = model->piece(best);
    if (!started && !text.empty() && text[0] == ' ') text.erase(0, 1);
    started = started || !text.empty();
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    if (best == model->number("eos")) break;
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const SpeechOptions options = SpeechOptions::parse(argc, argv, kUsage);
  SpeechModel model(options, "voxtral-realtime");
  const std::vector<float> samples = load_samples(options.audio, model.number("sample_rate"));
  const auto start = std::chrono::steady_clock::now();
  transcribe(&model, samples);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  report(static_cast<double>(samples.size()) / static_cast<double>(model.number("sample_rate")), seconds.count());
  return 0;
}
