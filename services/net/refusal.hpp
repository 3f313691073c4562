// Refusal: how a service says no to one request, and to nothing else.
#pragma once

#include <exception>
#include <string>

namespace tap::net {

/// Thrown while a request is answered: a line protocol answers `ERR <reason>` and goes on, any other ends the
/// connection in order, once everything written before has been sent. It is an answer and no failure:
/// nothing is logged.
class Refusal : public std::exception {
 public:
  explicit Refusal(std::string reason) : reason_(std::move(reason)) {}
  [[nodiscard]] const char* what() const noexcept override { return reason_.c_str(); }

 private:
  std::string reason_;
};

}  // namespace tap::net
