package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// welcome handles the answer to CONNECT: the client is back, or begins a session.
func (c *client) welcome(answer string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.plan.now()
	recovered, early, err := c.state.welcome(answer)
	if err != nil {
		return err
	}
	back := now - c.lost
	before := c.session
	c.since = now
	switch {
	case recovered:
		if before.id != c.state.id {
			return errors.New("the session was recovered with another id")
		}
		before.trips = append(before.trips,
			trip{before.at.origin, c.node.origin, c.lost, now, c.tries, len(before.broadcasts)})
		c.tally.back(true, before.at != c.node, c.ended, back)
		if before.at != c.node {
			before.moved++
		}
	default:
		if before != nil {
			before.ended = c.lost
			c.past = append(c.past, before)
			if killed := c.nodes.killedAt(before.at); killed != 0 {
				before.ended = min(c.lost, killed)
				c.tally.orphan(back)
			} else {
				c.tally.refuse("client %d, session %s, last at node %d, lost its connection at %v, and tried %v",
					c.number, before.id, before.at.origin, c.lost.Round(time.Millisecond), c.tries)
				c.tally.back(false, before.at != c.node, c.ended, back)
			}
		}
		c.session = newSession(c.number, c.state.id, c.state.pid, now)
		go c.settle(c.session)
	}
	c.session.at = c.node
	for _, args := range early {
		c.note(c.state.emit(args), now)
	}
	return nil
}

// event handles an event of the server.
func (c *client) event(conn carrier, packet string) error {
	if id, args, _ := strings.Cut(packet, "["); id != "" { // which moves no offset
		if strings.HasPrefix(args, `"ask"`) {
			return conn.send("43" + id + `["` + strconv.Itoa(c.number) + `"]`)
		}
		return errors.New("an unexpected question: " + packet)
	}
	now := c.plan.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if event := c.state.event(packet); event != nil {
		events := [][]string{event}
		if c.plant != nil {
			events = c.plant(c, event)
		}
		for _, e := range events {
			c.note(e, now)
			if p, ok := conn.(*polling); ok {
				p.delivers(e, now)
			}
		}
	}
	return nil
}

// note enters an event into the session's books: its name, origin, number, and when it was emitted.
func (c *client) note(event []string, now time.Duration) {
	if len(event) < 4 {
		c.tally.failed(errors.New("an event with too few arguments: " + strings.Join(event, ",")))
		return
	}
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(event[i+1]); err != nil {
			c.tally.failed(err)
			return
		}
	}
	m := mark{uint16(n[0]), uint32(n[1])}
	if event[0] == `"p"` {
		c.session.privates = append(c.session.privates, m)
		return
	}
	c.session.broadcasts = append(c.session.broadcasts, m)
	if emitted := time.Duration(n[2]); emitted > c.since {
		c.tally.delivered(now-emitted, n[1], c.node)
	}
}

// ask emits an event and waits for its acknowledgement, which is the text of its only argument.
func (c *client) ask(s *session, event string, args ...string) (string, error) {
	c.mu.Lock()
	conn := c.carrier
	if conn == nil || !c.state.connected || c.session != s {
		c.mu.Unlock()
		return "", errAway
	}
	c.lastAck++
	id, answer := c.lastAck, make(chan string, 1)
	c.acks[id] = answer
	c.mu.Unlock()
	text := `42` + strconv.Itoa(id) + `["` + strings.Join(slices.Insert(args, 0, event), `","`) + `"]`
	if err := conn.send(text); err != nil {
		return "", err
	}
	select {
	case text, ok := <-answer:
		if !ok {
			return "", errAway
		}
		return text, nil
	case <-time.After(time.Minute):
		return "", errors.New("no answer to " + event + " within a minute")
	}
}

// errAway says that the client is not connected, or has another session by now.
var errAway = errors.New("the client is away")
