package crowd

// A stream is what one client has received of a route, whose publishes have numbers from 0 on.
//
// A number is missing if it has never come, doubled each time it comes again, and reordered if it came for
// the first time after a later one. No order is promised between routes.
type stream struct {
	next  int              // one more than the highest number so far
	holes map[int]struct{} // numbers below next that have not come; nil until there are any
}

// receive takes a delivery. first reports whether it is the first of this number, and late whether a later
// number was here before.
func (s *stream) receive(number int) (first, late bool) {
	switch {
	case number == s.next:
		s.next++
		return true, false
	case number > s.next:
		if s.holes == nil {
			s.holes = make(map[int]struct{})
		}
		for n := s.next; n < number; n++ {
			s.holes[n] = struct{}{}
		}
		s.next = number + 1
		return true, false
	}
	if _, ok := s.holes[number]; ok {
		delete(s.holes, number)
		return true, true
	}
	return false, false
}

// has reports whether a number has come.
func (s *stream) has(number int) bool {
	_, hole := s.holes[number]
	return number < s.next && !hole
}

// missing is how many of the numbers below published have not come.
func (s *stream) missing(published int) int { return len(s.holes) + published - s.next }

// Faults are what is wrong with what was received.
type Faults struct {
	Missing   int `json:"missing"`   // never came; what a client misses that has lost its connection is none
	Doubled   int `json:"doubled"`   // came again
	Reordered int `json:"reordered"` // came after a later one of the same sender to the same room
	Malformed int `json:"malformed"` // was changed on its way, or sent by nobody, or not to this client
}

// Sum is all of them.
func (f Faults) Sum() int { return f.Missing + f.Doubled + f.Reordered + f.Malformed }

func (f *Faults) add(g Faults) {
	f.Missing += g.Missing
	f.Doubled += g.Doubled
	f.Reordered += g.Reordered
	f.Malformed += g.Malformed
}
