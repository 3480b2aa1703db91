package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// invite lets emitters and servers come and go, one after the other, until the end of the faults. A server that is there then stays.
func (c *trial) invite(guest int, h *host) {
	next := visits(c.seed, guest)
	c.guests.Go(func() {
		for {
			v := next()
			if !c.pause(v.pause) {
				return
			}
			var err error
			if v.server {
				err = c.serverComes(h, v, nil)
			} else {
				err = c.emitterComes(h, v, nil)
			}
			if err != nil {
				c.fail(fmt.Errorf("%+v: %w", v, err))
				return
			}
		}
	})
}

// pause waits, and reports whether the faults go on.
func (c *trial) pause(d time.Duration) bool {
	select {
	case <-c.stop:
		return false
	default:
	}
	select {
	case <-time.After(d):
		return true
	case <-c.stop:
		return false
	}
}

// addrs are the addresses of two of the NATS servers.
func (c *trial) addrs(origin int) string {
	b := c.brokers
	return b[origin%len(b)].host.addr + "," + b[(origin+1)%len(b)].host.addr
}

// emitterComes runs an emitter until it has closed, or is killed. before is called first then, if there is one: all is well.
func (c *trial) emitterComes(h *host, v visit, before func(origin int) error) error {
	number := c.newOrigin()
	e, err := c.run(h, "emitter", fmt.Sprint(number), fmt.Sprint(c.seed), c.addrs(number), fmt.Sprint(v.emits))
	if err != nil {
		return err
	}
	defer e.child.Kill()
	c.edit(number, func(o *origin) { o.ID = e.id })
	if v.kill {
		return c.kill(e, number, v, before)
	}
	if _, err := e.child.Line(); err != nil {
		return err
	}
	answer, err := e.child.Ask("close")
	if err != nil {
		return err
	}
	var end closing
	if err := json.Unmarshal([]byte(answer), &end); err != nil {
		return err
	}
	c.edit(number, func(o *origin) {
		o.End, o.Sent, o.Refused, o.Without, o.Failed = closed, end.Sent, end.Refused, end.Without, end.Failed
	})
	return nil
}

// kill kills a guest after a while.
func (c *trial) kill(p *process, number int, v visit, before func(origin int) error) error {
	time.Sleep(v.last)
	if before != nil {
		if err := before(number); err != nil {
			return err
		}
	}
	p.child.Kill()
	c.edit(number, func(o *origin) { o.End, o.Calm = killed, before != nil })
	return nil
}

// serverComes runs a server until it has closed, or is killed, as emitterComes does; or the faults end, and it stays.
func (c *trial) serverComes(h *host, v visit, before func(origin int) error) error {
	number := c.newOrigin()
	s, err := c.runServer(h, number, c.addrs(number))
	if err != nil {
		return err
	}
	var ids []string
	for _, other := range c.servers {
		ids = append(ids, other.id)
	}
	if err := s.ask("join "+strings.Join(ids, ","), nil); err != nil {
		return err
	}
	// What the others send from now on is due, and what those send who are yet to come.
	s.since = map[int]int{number: 0}
	for o, other := range c.servers {
		var sent int
		if err := other.ask("sent", &sent); err != nil {
			return err
		}
		s.since[o] = sent
	}
	c.mu.Lock()
	first := len(c.origins) // that is to come
	c.mu.Unlock()
	if err := s.ask("sing "+pace.String(), nil); err != nil {
		return err
	}
	if v.kill {
		return c.kill(s, number, v, before)
	}
	if !c.pause(v.last) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for o := first; o < len(c.origins); o++ {
			s.since[o] = 0
		}
		c.stayers = append(c.stayers, s)
		return nil
	}
	var r singerReport
	var end closing
	if err := s.ask("hush", nil); err != nil {
		return err
	}
	if err := s.ask("report", &r); err != nil {
		return err
	}
	if err := s.ask("close", &end); err != nil {
		return err
	}
	c.edit(number, func(o *origin) {
		o.End, o.Sent, o.Refused, o.Without, o.Failed = closed, r.Sent, r.Refused, end.Without, end.Failed
	})
	c.mu.Lock()
	c.gone = append(c.gone, r.node)
	c.mu.Unlock()
	return s.child.Quit()
}

// history asks all servers that have stayed for what they have got. They are silent by now.
func (c *trial) history() (*history, []singerReport, error) {
	h := &history{seed: c.seed, origins: slices.Clone(c.origins), nodes: slices.Clone(c.gone)}
	var reports []singerReport
	for _, s := range c.stayers {
		var r singerReport
		if err := s.ask("report", &r); err != nil {
			return nil, nil, err
		}
		r.Stayed, r.Since = true, s.since
		h.nodes = append(h.nodes, r.node)
		h.origins[s.origin].Sent, h.origins[s.origin].Refused = r.Sent, r.Refused
		reports = append(reports, r)
	}
	return h, reports, nil
}
