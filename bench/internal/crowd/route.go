package crowd

import "time"

// A route is the way from one sender to those who receive what it sends in a run.
type route struct {
	id     int
	sender *client
	next   int // number of its next publish
	run    *run

	// One of these says who receives.
	room  *room   // its members
	alone *client // who may be the sender itself
	known int     // so many, if it is not known who; less than 0 is any number

	streams []stream           // of the members by rank, or that of alone
	any     map[*client]stream // if it is not known who receives
	firsts  int                // deliveries of numbers that had not come, if known says how many
	faults  Faults             // without those that are missing
	left    int                // receivers of the next publish; less than 0 if nobody knows

	template      template
	before, after []byte // of the payload in what is emitted; after is nil if it has none
	filler        []byte

	flights []flight // from head on those that may be under way
	head    int
	base    int // number of the publish at head
}

// A flight is a publish on its way.
type flight struct {
	since time.Duration
	left  int // receivers that do not have it
}

// expected is how many receive what is published now.
func (r *route) expected() int {
	switch {
	case r.known > 0:
		return r.known
	case r.known < 0:
		return -1
	}
	n := 0
	for _, cl := range r.receivers() {
		if cl.heeds(r) {
			n++
		}
	}
	return n
}

// receivers are those who are known to receive.
func (r *route) receivers() []*client {
	switch {
	case r.alone != nil:
		return []*client{r.alone}
	case r.room != nil:
		return r.room.members
	}
	return nil
}

// streamOf is what a client has received, or nil if it is not known to receive.
func (r *route) streamOf(cl *client) *stream {
	switch {
	case r.alone == cl:
		return &r.streams[0]
	case r.room != nil && r.room == cl.room:
		return &r.streams[cl.rank]
	}
	return nil
}

// heeds reports whether what a client receives on a route counts.
func (cl *client) heeds(r *route) bool { return cl.state == alive && !cl.slow && r.id >= cl.from }

// receive takes a delivery to a client, and reports whether it is the first of this number. ok is false if
// the client is none of the receivers.
func (r *route) receive(cl *client, number int) (first, ok bool) {
	var late bool
	if r.any != nil {
		s := r.any[cl]
		first, late = s.receive(number)
		r.any[cl] = s
		if first {
			r.firsts++
		}
	} else if s := r.streamOf(cl); s != nil {
		first, late = s.receive(number)
	} else {
		return false, false
	}
	if !first {
		r.faults.Doubled++
	}
	if late {
		r.faults.Reordered++
	}
	return first, true
}

// flight is a publish that is on its way, or nil.
func (r *route) flight(number int) *flight {
	if i := r.head + number - r.base; number >= r.base && i < len(r.flights) && r.flights[i].left != 0 {
		return &r.flights[i]
	}
	return nil
}

// trim forgets the first flights if they have ended.
func (r *route) trim() {
	for r.head < len(r.flights) && r.flights[r.head].left == 0 {
		r.head++
		r.base++
	}
	if r.head > len(r.flights)/2 {
		n := copy(r.flights, r.flights[r.head:])
		r.flights, r.head = r.flights[:n], 0
	}
}

// check is what is wrong with the route so far.
func (r *route) check() Faults {
	f := r.faults
	if r.known > 0 && r.sender.state == alive {
		f.Missing = max(0, r.known*r.next-r.firsts)
	}
	for _, cl := range r.receivers() {
		f.Missing += r.missing(cl, r.streamOf(cl))
	}
	return f
}

// missing is what a receiver misses of what the sender has sent while both were connected.
func (r *route) missing(cl *client, s *stream) int {
	switch {
	case !cl.heeds(r):
		return 0
	case r.sender.state != alive: // its last publishes may not have reached the server
		return s.missing(s.next)
	}
	return s.missing(r.next)
}
