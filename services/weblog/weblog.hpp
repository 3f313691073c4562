// The weblog service: a web server's log, followed, and told to clients as one XML document each.
//
// After the weblog server of the Twisted articles. The log is in Apache's combined format. A client gets `<hits>` when
// it connects, then hits, and `</hits>` when the connection ends in order (the service stops, or the client has sent
// its end): a whole document, also when there was no hit. A hit is an element
//
//     <hit
//       ip="127.0.0.1"
//       timestamp="24/Nov/2026:19:00:00 +0000"
//       request="GET / HTTP/1.1"
//       status="200"
//       bytes="612"
//       referrer="-"
//       agent="curl/7.88.1"/>
//
// mode = "push": every push_every each client gets what is newer than its last push. mode = "pull": each request gets
// what is newer than the client's last answer, or `<none/>`. Any bytes are a request, ended by a newline or by the end
// of what one read delivers; a newline that comes alone after bytes without one belongs to these. So "a\nb\n" in one
// segment is two requests, and "a" is one at once.
//
// A client that is new begins with the last `keep` hits: whoever was cut off and comes back finds what it missed among
// them. What a client has not got yet is kept for it, up to `backlog` bytes for all;
// one that is further behind is ended.
//
// Where the log is read, and the last hits, are the state: a hit is told when it is durable that it was read.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind weblog_kind();

}  // namespace tap::services
