package outbox

import "time"

// A Pace is how fast a peer has to be, both in what it takes and in what it sends. The zero value is the default of each field.
type Pace struct {
	// Rate is what a peer takes at the least, in bytes a second, over the time Over, while more waits for it than its queue's limit. So is
	// what it sends, while a message of it is incomplete. Zero means 1,024, over 15 seconds.
	Rate int
	Over time.Duration

	// Behind is how long a queue may be over its limit without a break while frames keep coming. Zero means 60 seconds.
	Behind time.Duration
}

// Defaults returns p with its zero values replaced.
func (p Pace) Defaults() Pace {
	if p.Rate <= 0 {
		p.Rate = 1 << 10
	}
	if p.Over <= 0 {
		p.Over = 15 * time.Second
	}
	if p.Behind <= 0 {
		p.Behind = 60 * time.Second
	}
	return p
}

// Patience is how long a peer may go without any progress. It is a little longer than Over: TCP over loopback shows progress in steps of
// 64 KiB, which a peer of 4 kB/s makes every 16 seconds.
func (p Pace) Patience() time.Duration { return p.Over + p.Over*2/15 }

// Bytes is what a peer has to take, or to send, in each time of Patience.
func (p Pace) Bytes() int { return int(float64(p.Rate) * p.Over.Seconds()) }

// tick is how often a queue over its limit is looked at.
func (p Pace) tick() time.Duration { return p.Over / 30 }

// A backlog judges the peer of a queue that is over its limit.
type backlog struct {
	taken  uint32  // by the peer, at the last look, in bytes; it wraps
	took   uint64  // by the peer, since the backlog began
	credit float64 // bytes that the peer may still fall short of the rate
	looked int64   // when the last look was

	since  int64  // the start of the current stretch over the limit
	halved bool   // half of Pace.Behind has passed since then, and what follows is set
	in     uint64 // bytes queued since the backlog began
	inThen uint64 // in, at half of the stretch
	tookBy uint64 // took, at half of the stretch
}

// newBacklog returns the backlog of a queue that has just passed its limit.
func newBacklog(p Pace, taken uint32) *backlog {
	t := now()
	return &backlog{taken: taken, credit: p.allowance(), looked: t, since: t}
}

// allowance is the credit of a peer that has kept the rate.
func (p Pace) allowance() float64 { return float64(p.Rate) * p.Patience().Seconds() }

// judge says why the peer has to go, if it has to. waits says that the queue waits for the peer, and not for its own server.
func (b *backlog) judge(p Pace, taken uint32, waits bool) error {
	t := now()
	passed := min(time.Duration(t-b.looked), 2*p.tick()) // a server that stood still meanwhile blames nobody for it
	b.looked = t
	progress := int32(taken - b.taken) // negative while a write is under way that the kernel knows of and the queue does not
	if progress > 0 {
		b.taken = taken
		b.took += uint64(progress)
	}
	b.credit = min(b.credit+float64(max(progress, 0)), p.allowance())
	if waits {
		b.credit -= float64(p.Rate) * passed.Seconds()
	}
	if b.credit < 0 {
		return ErrTooSlow
	}
	return b.judgeStretch(p, t)
}

// judgeStretch judges a peer that takes enough and still does not catch up. What came in the first half of the time may have come at once,
// such as a history, or what was repaired after an outage: it is the second half that shows whether the queue gets shorter.
func (b *backlog) judgeStretch(p Pace, t int64) error {
	stretch := time.Duration(t - b.since)
	if stretch >= p.Behind/2 && !b.halved {
		b.halved = true
		b.inThen, b.tookBy = b.in, b.took
	}
	if stretch < p.Behind {
		return nil
	}
	came, took := b.in-b.inThen, b.took-b.tookBy
	if came > 0 && came >= took/2 {
		return ErrBehind
	}
	b.since, b.halved = t, false
	return nil
}
