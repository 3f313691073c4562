#include "services/filter_proxy/pages.hpp"

namespace tap::services {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else out += c;
  }
  return out;
}

}  // namespace

std::string page_text(int status, std::string_view subject, std::string_view reason) {
  const std::string title = std::to_string(status) + " " + std::string(net::http_reason(status));
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title +
                     "</title></head>\n<body><h1>" + title + "</h1>\n";
  if (!subject.empty()) page += "<p><b>" + escaped(subject) + "</b></p>\n";
  page += "<p>" + escaped(reason) + "</p>\n<hr><p>tapd, filter-proxy</p></body></html>\n";
  return page;
}

void answer_with_page(net::HttpAnswer& answer, int status, std::string_view subject, std::string_view reason) {
  net::HttpAnswerHead head(status, "text/html; charset=utf-8");
  head.add("Cache-Control", "no-store");
  // Who means a request otherwise than we do means the bytes behind it otherwise too.
  if (status == 400) head.close();
  answer.send(head, page_text(status, subject, reason));
}

}  // namespace tap::services
