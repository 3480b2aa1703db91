package main

// A checker follows what one member receives and tells what is wrong with it. Publishers number what they publish from 0 on.
//
// A number is missing if it has never come, doubled each time it comes again, and reordered if it came for the first time after a later
// one of the same publisher. No order is promised between publishers.
type checker struct {
	streams            []stream // by publisher
	doubled, reordered int
}

// A stream is what a member has received of one publisher.
type stream struct {
	next  int          // one more than the highest number so far
	holes map[int]bool // numbers below next that have not come; nil until there are any
}

func newChecker(publishers int) checker {
	return checker{streams: make([]stream, publishers)}
}

// receive takes a delivery and reports whether it is the first of this number.
func (c *checker) receive(publisher, number int) (first bool) {
	s := &c.streams[publisher]
	switch {
	case number == s.next:
		s.next++
	case number > s.next:
		if s.holes == nil {
			s.holes = make(map[int]bool)
		}
		for n := s.next; n < number; n++ {
			s.holes[n] = true
		}
		s.next = number + 1
	case s.holes[number]:
		delete(s.holes, number)
		c.reordered++
	default:
		c.doubled++
		return false
	}
	return true
}

// missing returns how many numbers have not come, of published[p] from each publisher p.
func (c *checker) missing(published []int) int {
	sum := 0
	for p := range c.streams {
		s := &c.streams[p]
		sum += len(s.holes) + published[p] - s.next
	}
	return sum
}
