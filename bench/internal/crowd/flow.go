package crowd

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The kinds of a [Flow].
const (
	Echo    = "echo"    // each sender waits for the acknowledgement of its event
	Room    = "room"    // to the rooms of Join
	Private = "private" // to another client, by the id of its session
	Quiet   = "quiet"   // nothing is sent
)

// A Flow is what clients send in a run.
type Flow struct {
	Kind string
	// Senders is how many clients send, From the first of them. They are the first of each room in turn,
	// since client i is in room i%Rooms; clients that are in no room send to the rooms in turn. 0 is one a
	// room for rooms, and all clients otherwise.
	Senders, From int
	// Exactly one of InFlight and Rate says how much is sent, by all senders together. InFlight publishes
	// are under way at a time, each until its last receiver has it. Rate publishes are due a second,
	// whether others are under way or not, and latency counts from when each was due.
	InFlight int
	Rate     float64
	Size     int  // bytes of a payload; 0 is 128, and less than MinSize is too little
	Binary   bool // send it as an attachment
	// Emit is the event's name and its arguments, in whose strings {payload} is replaced, {room} by the name
	// of the room, or the id of the session that a private message is for, {id} by the sender's own and
	// {socket} by its number. Nil is ["publish", "{room}", "{payload}"], and ["echo", "{payload}"].
	// Clients of centrifuge publish, and call echo.
	Emit []any
	// Receivers is how many clients get a publish to a room. 0 is its members; less than 0 says that nobody
	// knows: what comes is counted, and nothing is missing.
	Receivers int
	Slow      int // so many members, the last ones, do not read during the flow, and do not count
	Warmup    time.Duration
	Duration  time.Duration  // how long publishes begin
	Publishes int            // so many instead
	Stall     time.Duration  // without any delivery, the run is given up; 0 is 10 s
	Every     func(Progress) `json:"-"` // called once a second; may be nil
}

// A Progress is how a run stands.
type Progress struct {
	Elapsed    time.Duration
	Alive      int // clients
	Publishes  int // since the last one
	Deliveries int // since the last one
	P99        time.Duration
	WarmingUp  bool
}

// A Result is what became of a run, without its warm-up.
type Result struct {
	Publishes  int           `json:"publishes"`
	Deliveries int           `json:"deliveries"`
	Elapsed    time.Duration `json:"elapsed_ns"` // until the last delivery
	// Of deliveries: from when a publish was due, or was written, until one receiver had it.
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
	// Of publishes: until the last receiver had it.
	Last50 time.Duration `json:"last50_ns"`
	Last99 time.Duration `json:"last99_ns"`
	// Of flows with a Rate: the longest time in which a receiver that is known got nothing.
	Silence time.Duration  `json:"silence_ns"`
	Late    int            `json:"late"`    // publishes written more than 10 ms after they were due
	Busy    float64        `json:"busy"`    // share of the time in which the loop, or all processors, worked
	Stalled bool           `json:"stalled"` // given up
	Lost    int            `json:"lost"`    // clients that lost their connection, but for slow ones
	Why     map[string]int `json:"why"`     // they lost it, or events were refused
}

const (
	defaultSize  = 128
	defaultStall = 10 * time.Second
	lateness     = 10 * time.Millisecond
)

// check completes a flow.
func (f *Flow) check(cfg Config) error {
	if f.Size == 0 {
		f.Size = defaultSize
	}
	if f.Stall == 0 {
		f.Stall = defaultStall
	}
	if f.Emit == nil {
		f.Emit = []any{"publish", "{room}", payloadGap}
		if f.Kind == Echo {
			f.Emit = []any{"echo", payloadGap}
		}
	}
	switch f.Kind {
	case Quiet:
		if f.Duration <= 0 {
			return errors.New("a quiet flow needs a Duration")
		}
		return nil
	case Echo, Room, Private:
	default:
		return fmt.Errorf("no kind of flow %q: want echo, room, private or quiet", f.Kind)
	}
	switch {
	case cfg.Dialect == Centrifuge && f.Binary:
		return errors.New("the JSON protocol of centrifuge has no binary payloads")
	case (f.InFlight > 0) == (f.Rate > 0):
		return errors.New("exactly one of InFlight and Rate says how much is sent")
	case f.InFlight > 0 && f.Receivers < 0 && f.Kind != Echo:
		return errors.New("without known Receivers nobody knows what is in flight: use Rate")
	case (f.Duration > 0) == (f.Publishes > 0):
		return errors.New("exactly one of Duration and Publishes says when a flow ends")
	case f.Size < MinSize || f.Size > maxMessage>>1:
		return fmt.Errorf("a payload of %d bytes: want %d to %d", f.Size, MinSize, maxMessage>>1)
	}
	return nil
}

// Run has clients send and receive. An error is that of ctx, of the flow, or of the crowd; what has been
// measured until then is told all the same.
func (c *Crowd) Run(ctx context.Context, f Flow) (Result, error) {
	if err := f.check(c.cfg); err != nil {
		return Result{}, err
	}
	c.mu.Lock()
	if c.phase != nil || c.run != nil || c.closed {
		c.mu.Unlock()
		return Result{}, errors.New("the crowd is busy, or closed: Connect, Join and Run follow each other")
	}
	r := &run{crowd: c, flow: f}
	err := r.prepare()
	if err != nil {
		err = errors.Join(err, r.rest())
	}
	c.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	if f.Warmup > 0 {
		warm := f
		warm.Duration, warm.Publishes = f.Warmup, 0
		err = r.do(ctx, warm, true)
	}
	if err == nil {
		err = r.do(ctx, f, false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = r.err
	}
	return r.result(), errors.Join(err, r.rest())
}

// prepare makes the routes of the run, and has slow members stop reading. c.mu must be held.
func (r *run) prepare() error {
	c, f := r.crowd, r.flow
	if f.Kind == Quiet {
		return nil
	}
	senders := f.Senders
	if senders == 0 {
		senders = len(c.clients) - f.From
		if f.Kind == Room {
			senders = min(senders, len(c.rooms))
		}
	}
	switch {
	case f.From < 0 || senders <= 0 || f.From+senders > len(c.clients):
		return fmt.Errorf("%d senders from client %d on, but there are %d clients",
			f.Senders, f.From, len(c.clients))
	case f.Kind == Room && len(c.rooms) == 0 && f.Receivers == 0:
		return errors.New("no rooms: Join them first, or say how many receive")
	case c.before+len(c.routes)+senders > maxRoutes:
		return errors.New("too many senders in all runs together")
	}
	t, err := newTemplate(f.Emit, c.cfg, f.Binary)
	if err != nil {
		return err
	}
	for len(c.filler) < f.Size {
		c.filler = append(c.filler, fillByte)
	}
	first := c.before + len(c.routes)
	if err := r.slowDown(first, senders); err != nil {
		return err
	}
	for i := range senders {
		cl := c.clients[f.From+i]
		rt := &route{
			id: first + i, sender: cl, run: r, template: t, filler: c.filler[:f.Size-MinSize],
		}
		name := c.aim(rt, i, f)
		if name == "" && f.Kind == Private {
			return errors.New("clients of centrifuge get private messages in a room of their own: Join as many rooms")
		}
		if c.cfg.Dialect == Centrifuge {
			rt.before, rt.after = []byte(inJSON(name)), []byte{}
		} else {
			rt.before, rt.after = t.fill(cl, name, f.Size)
		}
		if rt.after == nil && !f.Binary && f.Kind != Echo {
			return errors.New("no {payload} in what is emitted: what is received cannot be told")
		}
		if rt.left = rt.expected(); rt.left == 0 && f.InFlight > 0 {
			return fmt.Errorf("nobody receives what is sent to %q: InFlight needs somebody", name)
		}
		c.routes = append(c.routes, rt)
		r.routes = append(r.routes, rt)
	}
	return nil
}

// aim says who receives on the route of the i-th sender, and how the server is told.
func (c *Crowd) aim(rt *route, i int, f Flow) (name string) {
	switch f.Kind {
	case Echo:
		rt.alone, rt.sender.echo, rt.sender.base = rt.sender, rt, rt.sender.acks+1
	case Private:
		rt.alone = c.clients[(rt.sender.index+1)%len(c.clients)]
		name = rt.alone.id
		if c.cfg.Dialect == Centrifuge {
			name = rt.alone.ownRoom()
		}
	case Room:
		rm := rt.sender.room
		if rm == nil && len(c.rooms) > 0 {
			rm = c.rooms[i%len(c.rooms)]
		}
		if rm != nil {
			name = rm.name
		}
		if rt.known = f.Receivers; rt.known == 0 {
			rt.room, rt.streams = rm, make([]stream, len(rm.members))
			return name
		}
		rt.any = make(map[*client]stream)
		return name
	}
	rt.streams = make([]stream, 1)
	return name
}

// slowDown has members stop reading: nothing that they receive on routes from first on counts.
func (r *run) slowDown(first, senders int) error {
	c, f := r.crowd, r.flow
	for i := len(c.clients) - 1; i >= 0 && len(r.slow) < f.Slow; i-- {
		cl := c.clients[i]
		if cl.room == nil || cl.state != alive {
			continue
		}
		if i >= f.From && i < f.From+senders {
			break
		}
		r.slow = append(r.slow, cl)
	}
	if len(r.slow) < f.Slow {
		err := fmt.Errorf("%d slow members, but only %d are no senders", f.Slow, len(r.slow))
		r.slow = nil
		return err
	}
	for _, cl := range r.slow {
		cl.slow = true
		if err := cl.link.pause(cl, true); err != nil {
			return err
		}
	}
	return nil
}

// rest has slow members read again. c.mu must be held.
func (r *run) rest() error {
	var errs []error
	for _, cl := range r.slow {
		cl.slow, cl.from = false, r.crowd.before+len(r.crowd.routes)
		if cl.state == alive {
			errs = append(errs, cl.link.pause(cl, false))
		}
	}
	for _, rt := range r.routes {
		rt.sender.echo = nil
	}
	return errors.Join(errs...)
}
