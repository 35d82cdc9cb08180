// Transcribes a WAV file of 16 kHz with a Parakeet .pte. Knows the public header only.
//
//   run_parakeet --model parakeet.pte --audio speech.wav
//
// Long recordings are encoded in chunks with 4 s of audio on both sides; the decoder goes on from one to the next.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "speech.h"

namespace {

constexpr const char* kUsage =
    "usage: run_parakeet --model MODEL.pte --audio FILE.wav [--weights FILE.gguf] [--device NAME] [--threads N]\n";

constexpr double kContextSeconds = 4.0;

class Parakeet {
 public:
  explicit Parakeet(SpeechModel* model)
      : model_(*model),
        hop_(model->number("hop")),
        window_(model->number("window")),
        mels_(model->number("mels")),
        step_(model->number("subsampling")),
        max_frames_(model->number("max_frames")),
        blank_(model->number("vocab") - 1),
        max_symbols_(model->number("max_symbols")),
        lookahead_(model->number("lookahead")) {
    for (const Json& duration : member(model->facts(), "durations"))
      durations_.push_back(static_cast<long>(number(duration)));
  }

  void transcribe(const std::vector<float>& samples) {
    std::vector<float> features = log_mel(samples);
    normalise(&features);
    const long total = static_cast<long>(features.size()) / mels_;
    const double frame_seconds = static_cast<double>(hop_) / static_cast<double>(model_.number("sample_rate"));
    const long longest = max_frames_ / step_ * step_;
    const long wanted = std::lround(kContextSeconds / frame_seconds) / step_ * step_;
    const long context = std::min(wanted, longest / 4 / step_ * step_);
    const long chunk = total <= max_frames_ ? total : longest - 2 * context;
    predict(blank_);
    for (long from = 0; from < total; from += chunk) {
      const long to = std::min(from + chunk, total), first = std::max(0L, from - context);
      const long last = std::min(to + context, total);
      const auto out =
          model_.run("encoder", {SpeechModel::floats(features.data() + first * mels_, {1, last - first, mels_})});
      decode(model_.floats_of(out.at(0)), (from - first) / step_, (to - first + step_ - 1) / step_, from / step_);
    }
    std::printf("\n");
  }

 private:
  /// Frame t is centred on sample t * hop, of samples that went through preemphasis.
  std::vector<float> log_mel(const std::vector<float>& samples) {
    const long frames = std::max<long>(static_cast<long>(samples.size()) / hop_, step_ + 1);
    const float keep = static_cast<float>(number(model_.facts(), "preemphasis"));
    std::vector<float> padded(
        static_cast<size_t>(window_ / 2 + std::max<long>(frames * hop_, samples.size()) + window_));
    for (size_t i = 0; i < samples.size(); ++i)
      padded[static_cast<size_t>(window_ / 2) + i] = samples[i] - (i > 0 ? keep * samples[i - 1] : 0.0f);
    std::vector<float> features;
    const long most = std::min(1024L, max_frames_ - 1);
    for (long made = 0; made < frames;) {
      const long count = frames - made <= most + 1 ? frames - made : most;  // two frames at least
      const auto out =
          model_.run("log_mel", {SpeechModel::floats(padded.data() + made * hop_, {1, hop_ * count + window_ - hop_})});
      const Tensor part = model_.floats_of(out.at(0));
      features.insert(features.end(), part.data.begin(), part.data.end());
      made += count;
    }
    return features;
  }

  /// Zero mean and unit variance of every bin, over the whole recording.
  void normalise(std::vector<float>* features) const {
    const size_t bins = static_cast<size_t>(mels_), frames = features->size() / bins;
    for (size_t bin = 0; bin < bins; ++bin) {
      double mean = 0, squares = 0;
      for (size_t t = 0; t < frames; ++t) mean += (*features)[t * bins + bin];
      mean /= static_cast<double>(frames);
      for (size_t t = 0; t < frames; ++t) squares += std::pow((*features)[t * bins + bin] - mean, 2);
      const double deviation = std::sqrt(squares / static_cast<double>(std::max<size_t>(frames - 1, 1))) + 1e-5;
      for (size_t t = 0; t < frames; ++t) {
        float& value = (*features)[t * bins + bin];
        value = static_cast<float>((value - mean) / deviation);
      }
    }
  }

  void predict(int64_t token) {
    prediction_ = model_.floats_of(model_.run("predictor", {SpeechModel::ids(&token, {1, 1})}).at(0));
  }

  /// Greedy search over frames begin..end of a chunk; `first` is the recording's frame that `begin` is.
  void decode(Tensor encoded, long begin, long end, long first) {
    const long width = static_cast<long>(encoded.shape.back());
    // Always as many frames at once, with silence behind the last: one graph, which a GPU replays.
    encoded.data.resize(encoded.data.size() + static_cast<size_t>((lookahead_ - 1) * width));
    const long stop = first + end - begin;
    std::vector<int64_t> tokens, lengths;
    long base = -1;
    while (time_ < stop) {
      if (base < 0 || time_ - base >= static_cast<long>(tokens.size())) {
        base = time_;
        const long at = begin + base - first, count = lookahead_;
        const auto out = model_.run("joint", {SpeechModel::floats(encoded.data.data() + at * width, {1, count, width}),
                                              SpeechModel::floats(prediction_.data.data(), prediction_.shape)});
        const int64_t* ids = static_cast<const int64_t*>(out.at(0).data);
        const int64_t* steps = static_cast<const int64_t*>(out.at(1).data);
        tokens.assign(ids, ids + count);
        lengths.assign(steps, steps + count);
      }
      const int64_t token = tokens[static_cast<size_t>(time_ - base)];
      const long duration = durations_.at(static_cast<size_t>(lengths[static_cast<size_t>(time_ - base)]));
      if (token == blank_) {
        advance(std::max(duration, 1L));
        continue;
      }
      ++symbols_;
      advance(duration > 0 ? duration : (symbols_ >= max_symbols_ ? 1 : 0));
      show(token);
      predict(token);
      base = -1;
    }
  }

  void advance(long frames) {
    if (frames == 0) return;
    time_ += frames;
    symbols_ = 0;
  }

  void show(int64_t token) {
    std::string piece = model_.piece(token);
    if (!shown_ && !piece.empty() && piece[0] == ' ') piece.erase(0, 1);
    shown_ = shown_ || !piece.empty();
    std::fputs(piece.c_str(), stdout);
    std::fflush(stdout);
  }

  SpeechModel& model_;
  const long hop_, window_, mels_, step_, max_frames_, blank_, max_symbols_, lookahead_;
  std::vector<long> durations_;
  Tensor prediction_;
  long time_ = 0, symbols_ = 0;
  bool shown_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const SpeechOptions options = SpeechOptions::parse(argc, argv, kUsage);
  SpeechModel model(options, "parakeet-tdt");
  const std::vector<float> samples = load_samples(options.audio, model.number("sample_rate"));
  const auto start = std::chrono::steady_clock::now();
  Parakeet(&model).transcribe(samples);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  report(static_cast<double>(samples.size()) / static_cast<double>(model.number("sample_rate")), seconds.count());
  return 0;
}
