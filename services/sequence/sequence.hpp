// The sequence service: named counters, whose numbers are given to one client only, each of them.
//
// A request is a line, and so is its answer, but for LIST and HELP, whose answers end with a line that is a dot.
//
//     NEXT name               the next number of that counter; a name that is new begins with the option `start`
//     NEXT name count         the next `count` numbers, 1 to 1,000,000: `first last`
//     PEEK name               the number that NEXT would give, without taking it
//     LIST [after [max]]      counters in the order of their names (as bytes), `name next` each, at most `max` of them
//                             (1,000 unless told, 10,000 at most); with `after` the names above that one, so that the
//                             last name of one answer asks for the following
//     HELP, QUIT
//
// Commands may be in lower case. What cannot be done is answered with `ERR reason`, and the connection goes on. A name
// is 1 to 128 letters, digits and ._:-/ ; a number is 64 bits without sign, the last is 18446744073709551614. A counter
// never begins again: when its numbers are used up, NEXT is refused.
//
// Durability reserve: numbers are made durable in blocks ahead of their use, one by one at first, then 2, 4, 8 and so
// on up to the option `reserve_block`, so that a busy counter rarely waits for the disk. After a crash a counter goes
// on behind what was reserved: it skips what was left of a block and repeats nothing. A clean stop records where each
// counter is, and nothing is skipped.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind sequence_kind();

}  // namespace tap::services
