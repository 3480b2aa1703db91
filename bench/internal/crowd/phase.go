package crowd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Connects is what became of clients that connected.
type Connects struct {
	Sockets  int            `json:"sockets"`    // that have; without Failures
	Deflated int            `json:"deflated"`   // of these, whose server has agreed to permessage-deflate
	Elapsed  time.Duration  `json:"elapsed_ns"` // of all together
	P50      time.Duration  `json:"p50_ns"`     // of each, from its beginning
	P99      time.Duration  `json:"p99_ns"`
	Max      time.Duration  `json:"max_ns"`
	Failures int            `json:"failures"`
	Why      map[string]int `json:"why"` // they failed
}

// Joins is what became of clients that joined rooms.
type Joins = Connects

// stepTimeout bounds a connect and a join.
const stepTimeout = 20 * time.Second

// ErrTimeout is why a connect or a join has failed whose answer has not come in time.
var ErrTimeout = fmt.Errorf("no answer in %v", stepTimeout)

// A reasons counts errors by what they say, of which it tells apart a few.
type reasons map[string]int

func (r reasons) add(err error) {
	const most = 20
	text := err.Error()
	if _, ok := r[text]; !ok && len(r) >= most {
		text = "other reasons"
	}
	r[text]++
}

// A phase is something that each client does once.
type phase struct {
	crowd   *Crowd
	begin   func(cl *client) error // finish is called for it later, or in it
	clients []*client
	atOnce  int
	rate    float64

	begun            time.Duration
	next             int       // of clients
	busy             []*client // in the order in which they began
	times            histogram
	why              reasons
	failed, finished int

	ended chan struct{} // closed when all have done it
}

// do has all clients do something.
func (c *Crowd) do(ctx context.Context, p *phase) (Connects, error) {
	p.crowd, p.why, p.ended = c, reasons{}, make(chan struct{})
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return Connects{}, errClosing
	case c.phase != nil || c.run != nil:
		c.mu.Unlock()
		return Connects{}, errors.New("the crowd is busy: Connect, Join and Run follow each other")
	}
	p.begun = c.now()
	if len(p.clients) == 0 {
		close(p.ended)
	} else {
		c.phase = p
	}
	c.mu.Unlock()
	c.poll.wake()

	var err error
	select {
	case <-p.ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == p {
		p.abandon(err)
	}
	if err == nil && c.closed {
		err = errClosing
	}
	return Connects{
		Sockets: p.finished - p.failed, Failures: p.failed, Why: p.why, Elapsed: c.now() - p.begun,
		P50: p.times.quantile(0.5), P99: p.times.quantile(0.99), Max: p.times.max,
	}, err
}

// due is when the next client may begin, if nothing happens before.
func (p *phase) due() time.Duration {
	if p.rate == 0 || p.next == len(p.clients) || len(p.busy) >= p.atOnce {
		return 1<<63 - 1
	}
	return p.begun + time.Duration(float64(p.next)/p.rate*float64(time.Second))
}

// step has clients begin. The crowd's mu must be held, as in all methods.
func (p *phase) step() {
	now := p.crowd.now()
	for len(p.busy) > 0 && now-p.busy[0].since > stepTimeout {
		p.fail(p.busy[0], ErrTimeout)
	}
	for p.next < len(p.clients) && len(p.busy) < p.atOnce && (p.rate == 0 || p.due() <= now) {
		cl := p.clients[p.next]
		p.next++
		cl.busy, cl.done, cl.since = true, false, p.crowd.now()
		p.busy = append(p.busy, cl)
		if err := p.begin(cl); err != nil {
			p.fail(cl, err)
		}
	}
}

// fail notes that a client is done, and drops one that has not connected.
func (p *phase) fail(cl *client, err error) {
	if cl.state == alive {
		p.finish(cl, err)
	} else {
		p.crowd.drop(cl, err)
	}
}

// finish notes that a client is done.
func (p *phase) finish(cl *client, err error) {
	i := slices.Index(p.busy, cl)
	if !cl.busy || i < 0 {
		return
	}
	cl.busy, cl.done = false, err == nil
	p.busy = slices.Delete(p.busy, i, i+1)
	if err != nil {
		p.failed++
		p.why.add(err)
	} else {
		p.times.record(p.crowd.now() - cl.since)
	}
	if p.finished++; p.finished == len(p.clients) && p.crowd.phase == p {
		p.crowd.phase = nil
		close(p.ended)
	}
}

// abandon ends the phase early.
func (p *phase) abandon(err error) {
	if p.crowd.phase == p {
		p.crowd.phase = nil
		close(p.ended)
	}
	for _, cl := range p.busy {
		cl.busy = false
		if cl.state != alive {
			p.crowd.drop(cl, err)
		}
	}
}

// Connect connects that many more clients. Those that fail are no part of the crowd. An error is that of
// ctx, or of the crowd; what has been done until then is told all the same.
func (c *Crowd) Connect(ctx context.Context, sockets int) (Connects, error) {
	if err := allowFiles(c.Alive() + sockets); err != nil {
		return Connects{}, err
	}
	c.mu.Lock()
	p := &phase{begin: c.dial, atOnce: c.cfg.AtOnce, rate: c.cfg.Rate}
	for i := range sockets {
		p.clients = append(p.clients, &client{target: c.targets[i%len(c.targets)]})
	}
	// They are the crowd's from now on, so that Close ends them.
	for _, cl := range p.clients {
		cl.link = noLink{}
	}
	c.clients = append(c.clients, p.clients...)
	c.mu.Unlock()

	done, err := c.do(ctx, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = slices.DeleteFunc(c.clients, func(cl *client) bool {
		return cl.state != alive
	})
	for i, cl := range c.clients {
		cl.index = i
	}
	for _, cl := range p.clients {
		if cl.state == alive && cl.shrunk {
			done.Deflated++
		}
	}
	return done, err
}

// noLink is the link of a client that has not begun to connect.
type noLink struct{}

func (noLink) flush(*client) error       { return nil }
func (noLink) pause(*client, bool) error { return nil }
func (noLink) close(*client)             {}

// A Join says which rooms clients join. Client i is in room i%Rooms.
type Join struct {
	Rooms   int // 0 is one
	Members int // so many clients, the first ones; 0 is all
	// Emit is the event that each client sends to the server, in which {room}, {id} and {socket}
	// are replaced as in a [Flow]. Nil is ["join", "{room}"], whose acknowledgement is empty text,
	// or says what went wrong. Clients of centrifuge subscribe instead.
	Emit   []any
	Ack    bool    // wait for the acknowledgement of Emit, whatever it says
	AtOnce int     // under way at a time; 0 is 64
	Rate   float64 // a second; 0 is as fast as it goes
}

// A room is clients that get what is sent to it.
type room struct {
	name    string
	members []*client
}

// Join has clients join rooms, of which [Crowd.Run] knows since then. Those of a call before do not
// count any more, but clients stay in them. The errors are as those of Connect. A client that fails is
// in no room.
func (c *Crowd) Join(ctx context.Context, j Join) (Joins, error) {
	own := j.Emit == nil
	if own {
		j.Emit, j.Ack = []any{"join", "{room}"}, true
	}
	if j.AtOnce == 0 {
		j.AtOnce = 64
	}
	j.Rooms = max(j.Rooms, 1)
	t, err := newTemplate(j.Emit, c.cfg, false)
	if err != nil {
		return Joins{}, err
	}
	c.mu.Lock()
	c.fold()
	c.joins++
	rooms := make([]*room, j.Rooms)
	for i := range rooms {
		rooms[i] = &room{name: fmt.Sprintf("room-%d", i)}
		if c.joins > 1 {
			rooms[i].name += fmt.Sprintf("-%d", c.joins)
		}
	}
	p := &phase{atOnce: j.AtOnce, rate: j.Rate}
	for i, cl := range c.clients {
		cl.room = nil
		if cl.state == alive && (j.Members == 0 || i < j.Members) {
			cl.room = rooms[i%j.Rooms]
			p.clients = append(p.clients, cl)
		}
	}
	c.mu.Unlock()
	p.begin = func(cl *client) error { return c.sendJoin(cl, t, j.Ack, own) }

	done, err := c.do(ctx, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rooms = rooms
	for _, cl := range p.clients {
		if !cl.done {
			cl.room = nil
			continue
		}
		cl.rank = len(cl.room.members)
		cl.room.members = append(cl.room.members, cl)
	}
	return done, err
}
