#include "services/net/process.hpp"

#include <uv.h>

#include <csignal>

#include "state/base/assert.hpp"

namespace tap::net {
namespace {

constexpr int kPipes = 3;

Error uv_failure(int status, const std::string& what) {
  return Error{Fault::unavailable, what + ": " + uv_strerror(status), -status};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> made;
  made.reserve(texts.size() + 1);
  for (const std::string& text : texts) made.push_back(const_cast<char*>(text.c_str()));
  made.push_back(nullptr);
  return made;
}

}  // namespace

std::string ProcessEnd::text() const {
  return signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(exit_code);
}

/// libuv's handles. Freed by the loop when the last one is closed.
struct Process::Box {
  struct Write {
    uv_write_t request{};
    std::string bytes;
    Box* box = nullptr;
  };

  uv_process_t process{};
  uv_pipe_t pipes[kPipes]{};  // standard input, output, error
  Listener listener;
  Reactor* reactor = nullptr;
  std::optional<ProcessEnd> end;
  std::size_t unwritten = 0;
  int open_handles = 0;
  int open_outputs = 0;
  bool forgotten = false;
  bool input_closed = false;

  [[nodiscard]] uv_stream_t* stream(int number) { return reinterpret_cast<uv_stream_t*>(&pipes[number]); }
  void close(uv_handle_t* handle) {
    if (uv_is_closing(handle) != 0) return;
    uv_close(handle, [](uv_handle_t* closed) {
      Box* box = static_cast<Box*>(closed->data);
      if (--box->open_handles == 0 && box->forgotten) delete box;
    });
  }
  void close_pipe(int number) { close(reinterpret_cast<uv_handle_t*>(&pipes[number])); }
  void read_from(int number);
  void output_ended(int number);
  void tell_end_if_over();
  /// The owner has gone.
  void forget();
};

void Process::Box::read_from(int number) {
  ++open_outputs;
  uv_read_start(
      stream(number),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        const std::span<char> shared = static_cast<Box*>(handle->data)->reactor->receive_buffer();
        *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(shared.size()));
      },
      [](uv_stream_t* from, ssize_t got, const uv_buf_t* buffer) {
        Box* box = static_cast<Box*>(from->data);
        if (got == 0 || box->forgotten) return;
        const int which = from == box->stream(1) ? 1 : 2;
        if (got < 0) {
          box->output_ended(which);
          return;
        }
        const auto& told = which == 1 ? box->listener.out : box->listener.error;
        const std::string_view bytes(buffer->base, static_cast<std::size_t>(got));
        if (told) box->reactor->guarded("process", [&] { told(bytes); });
      });
}

void Process::Box::output_ended(int number) {
  close_pipe(number);
  --open_outputs;
  tell_end_if_over();
}

/// A child of the child may hold the pipes for longer: what is said after the end of the child itself
/// counts as its own.
void Process::Box::tell_end_if_over() {
  if (!end || open_outputs > 0 || forgotten) return;
  // The listener may drop the Process, and with it this.
  const auto told = std::exchange(listener.ended, nullptr);
  const ProcessEnd how = *end;
  Reactor& on = *reactor;
  if (told) on.guarded("process", [&] { told(how); });
}

void Process::Box::forget() {
  forgotten = true;  // what it listens with stays until it is gone: the call may come from in there
  for (int i = 0; i < kPipes; ++i) close_pipe(i);
  if (end || process.pid <= 0) {
    close(reinterpret_cast<uv_handle_t*>(&process));
    return;
  }
  uv_process_kill(&process, SIGKILL);  // its end is waited for, so that no zombie stays
  reactor->will_end();
}

Result<std::unique_ptr<Process>> Process::start(Reactor& reactor, const ProcessSpec& spec, Listener listener) {
  TAP_ASSERT(!spec.words.empty());
  reactor.assert_on_loop();
  auto* box = new Box;
  std::unique_ptr<Process> made(new Process(box));
  box->reactor = &reactor;
  box->listener = std::move(listener);
  box->process.data = box;
  uv_stdio_container_t streams[kPipes];
  for (int i = 0; i < kPipes; ++i) {
    TAP_ASSERT(uv_pipe_init(reactor.loop(), &box->pipes[i], 0) == 0);
    box->pipes[i].data = box;
    ++box->open_handles;
    streams[i].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | (i == 0 ? UV_READABLE_PIPE : UV_WRITABLE_PIPE));
    streams[i].data.stream = box->stream(i);
  }
  std::vector<char*> words = pointers(spec.words);
  std::vector<char*> environment;
  uv_process_options_t options{};
  options.file = words[0];
  options.args = words.data();
  if (spec.environment) environment = pointers(*spec.environment);
  if (spec.environment) options.env = environment.data();
  if (!spec.directory.empty()) options.cwd = spec.directory.c_str();
  options.stdio = streams;
  options.stdio_count = kPipes;
  options.exit_cb = [](uv_process_t* process, std::int64_t exit_code, int signal) {
    Box* ended = static_cast<Box*>(process->data);
    ended->end = ProcessEnd{static_cast<int>(exit_code), signal};
    if (!ended->forgotten) {
      ended->tell_end_if_over();
      return;
    }
    ended->reactor->has_ended();
    ended->close(reinterpret_cast<uv_handle_t*>(process));
  };
  ++box->open_handles;
  const int status = uv_spawn(reactor.loop(), &box->process, &options);
  if (status != 0) return uv_failure(status, "starting " + spec.words[0]);
  box->read_from(1);
  box->read_from(2);
  return made;
}

Process::~Process() { box_->forget(); }

bool Process::write(std::string_view bytes) {
  if (box_->input_closed || box_->unwritten + bytes.size() > kInputBytesMax) return false;
  auto* write = new Box::Write;
  write->bytes = bytes;
  write->box = box_;
  write->request.data = write;
  const uv_buf_t buffer = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  box_->unwritten += bytes.size();
  const int status = uv_write(&write->request, box_->stream(0), &buffer, 1, [](uv_write_t* request, int failed) {
    const std::unique_ptr<Box::Write> done(static_cast<Box::Write*>(request->data));
    done->box->unwritten -= done->bytes.size();
    if (failed != 0) done->box->input_closed = true;
  });
  if (status == 0) return true;
  box_->unwritten -= bytes.size();
  delete write;
  return false;
}

void Process::close_input() {
  if (std::exchange(box_->input_closed, true)) return;
  auto* request = new uv_shutdown_t;
  request->data = box_;
  const int status = uv_shutdown(request, box_->stream(0), [](uv_shutdown_t* done, int) {
    const std::unique_ptr<uv_shutdown_t> gone(done);
    static_cast<Box*>(done->data)->close_pipe(0);
  });
  if (status == 0) return;
  delete request;
  box_->close_pipe(0);
}

Result<void> Process::kill(int signal) {
  if (box_->end) return Error{Fault::unavailable, "the process has ended (" + box_->end->text() + ")"};
  const int status = uv_process_kill(&box_->process, signal);
  if (status != 0) return uv_failure(status, "sending a signal to the process");
  return {};
}

int Process::pid() const { return box_->process.pid; }

// --- one that is run to its end -----------------------------------------------------------------------------------

namespace {

class RunToEnd final : public deferred::Core<ProcessOutput> {
 public:
  RunToEnd(Reactor& reactor, const ProcessSpec& spec, const std::string& input, std::size_t output_bytes_max)
      : output_bytes_max_(output_bytes_max) {
    Process::Listener listener;
    listener.out = [this](std::string_view bytes) { take(output_.out, bytes); };
    listener.error = [this](std::string_view bytes) { take(output_.error, bytes); };
    listener.ended = [this](const ProcessEnd& end) { ended(end); };
    Result<std::unique_ptr<Process>> started = Process::start(reactor, spec, std::move(listener));
    if (!started) {
      result.emplace(std::move(started).error());
      return;
    }
    process_ = std::move(started).value();
    if (!input.empty() && !process_->write(input)) too_much_ = "its input is too large";
    process_->close_input();
  }

  void release() noexcept override { const std::unique_ptr<RunToEnd> ending(this); }
  void cancel() override {
    process_.reset();
    complete(cancelled_error());
  }

 private:
  void take(std::string& into, std::string_view bytes) {
    if (into.size() + bytes.size() > output_bytes_max_) {
      too_much_ = "it says more than " + std::to_string(output_bytes_max_) + " bytes";
      (void)process_->kill(SIGKILL);
      return;
    }
    into.append(bytes);
  }
  void ended(const ProcessEnd& end) {
    output_.end = end;
    if (!too_much_.empty()) complete(Error{Fault::temporary, too_much_});
    else complete(std::move(output_));
  }

  std::unique_ptr<Process> process_;
  ProcessOutput output_;
  std::size_t output_bytes_max_;
  std::string too_much_;
};

}  // namespace

Deferred<ProcessOutput> run_process(Reactor& reactor, const ProcessSpec& spec, const std::string& input,
                                    std::size_t output_bytes_max) {
  return Deferred<ProcessOutput>(*new RunToEnd(reactor, spec, input, output_bytes_max));
}

}  // namespace tap::net
