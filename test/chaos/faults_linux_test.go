package chaos

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"
)

// How long it takes until what was on its way has come, and for how long it is watched then that nothing comes any more.
const (
	hold  = 300 * time.Millisecond
	watch = time.Second
)

// errNoBite says that what was broken changed nothing.
var errNoBite = errors.New("it did not bite")

// inflict lets a fault happen, and mends it. An error says that it did not bite, or what could not be done. If the servers were about to connect
// elsewhere, after the fault before, it hits once more.
func (c *trial) inflict(f fault, h *host) error {
	time.Sleep(f.pause)
	for again := 3; ; again-- {
		on, err := c.places()
		if err != nil {
			return err
		}
		if err = c.hit(f, h, on); again == 0 || !errors.Is(err, errNoBite) {
			return err
		}
		now, failed := c.places()
		if failed != nil || maps.Equal(now, on) {
			return errors.Join(err, failed)
		}
	}
}

// hit is inflict, where the servers are connected to these NATS servers.
func (c *trial) hit(f fault, h *host, on map[*process]*process) error {
	var busy []*process // brokers with servers
	for _, b := range c.brokers {
		if slices.ContainsFunc(c.servers, func(s *process) bool { return on[s] == b }) {
			busy = append(busy, b)
		}
	}
	b := busy[f.which%len(busy)]
	elsewhere := busy[(f.which+1)%len(busy)] // another one: no broker serves all servers
	s := c.servers[f.which%len(c.servers)]
	at := func(b *process, is bool) (servers []*process) {
		for _, s := range c.servers {
			if (on[s] == b) == is {
				servers = append(servers, s)
			}
		}
		return servers
	}
	others := slices.DeleteFunc(slices.Clone(c.servers), func(o *process) bool { return o == s })
	ones := []*process{s}

	switch f.kind {
	case killNATS:
		return c.reconnects(func() error {
			b.child.Kill()
			time.Sleep(f.last)
			return b.restart()
		})
	case stopNATS:
		return c.during(f, func() error { return errors.Join(b.signal(syscall.SIGSTOP), b.stopped()) },
			func() error { return b.signal(syscall.SIGCONT) }, at(b, true), at(b, false))
	case cutRoutes:
		apart := slices.DeleteFunc(slices.Clone(c.brokers), func(o *process) bool { return o == b })
		return c.during(f, func() error { return cut(b, apart, true) }, func() error { return mend(b, apart, true) }, at(b, true), at(b, false))
	case muteRoute:
		other := []*process{elsewhere}
		return c.during(f, func() error { return cut(b, other, false) }, func() error { return mend(b, other, false) }, at(b, true), at(elsewhere, true))
	case cutNATS:
		return c.during(f, b.host.down, b.host.up, at(b, true), at(b, false))
	case retireNATS:
		if _, err := b.child.Ask("lame duck"); err != nil {
			return err
		}
		if left, err := b.host.connections(b.child.PID(), clientPort, false); err != nil || len(left) > 0 {
			return fmt.Errorf("after its retirement the NATS server has clients still: %v, %w", left, err)
		}
		return errors.Join(b.child.Quit(), b.restart())
	case rollingRestart:
		return c.reconnects(func() error {
			for _, b := range c.brokers {
				if err := errors.Join(b.child.Quit(), b.restart(), c.routed()); err != nil {
					return err
				}
			}
			return nil
		})
	case cutClient, muteClient:
		broker, both := []*process{on[s]}, f.kind == cutClient
		return c.during(f, func() error { return cut(s, broker, both) }, func() error { return mend(s, broker, both) }, ones, others)
	case cutServer:
		return c.during(f, s.host.down, s.host.up, ones, others)
	case stopServer:
		return c.during(f, func() error { return errors.Join(s.signal(syscall.SIGSTOP), s.stopped()) },
			func() error { return s.signal(syscall.SIGCONT) }, ones, others)
	case killServer, killEmitter:
		if err := errors.Join(c.routed(), c.whole()); err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // whatever is on its way still, of the faults before
		v := visit{kill: true, last: 500 * time.Millisecond, emits: 1 << 20}
		comes := c.emitterComes
		if f.kind == killServer {
			comes = c.serverComes
		}
		err := comes(h, v, func(origin int) error {
			return wait("all servers to hear the one that is to be killed", func() (bool, error) {
				for _, s := range c.servers {
					heard := make(map[int]int)
					if err := s.ask("heard", &heard); err != nil || heard[origin] == 0 {
						return false, err
					}
				}
				return true, nil
			})
		})
		time.Sleep(2 * time.Second) // nothing else breaks while the others learn of it: they miss two Beats
		return err
	}
	return fmt.Errorf("no such fault: %s", f.kind)
}

// cut has all that one sends to the others vanish, and what comes from them if both.
func cut(one *process, others []*process, both bool) error {
	var errs []error
	for _, o := range others {
		errs = append(errs, one.host.mute(o.host))
		if both {
			errs = append(errs, o.host.mute(one.host))
		}
	}
	return errors.Join(errs...)
}

func mend(one *process, others []*process, both bool) error {
	var errs []error
	for _, o := range others {
		errs = append(errs, one.host.unmute(o.host))
		if both {
			errs = append(errs, o.host.unmute(one.host))
		}
	}
	return errors.Join(errs...)
}

// during has something broken for as long as the fault lasts, and checks that nothing comes from one side to the other at first. Whether
// connections outlive it depends on how long it lasts.
func (c *trial) during(f fault, begin, end func() error, from, to []*process) error {
	if len(from) == 0 || len(to) == 0 {
		return fmt.Errorf("%s: nobody is concerned: %d servers on one side, %d on the other", f.kind, len(from), len(to))
	}
	err := begin()
	if err == nil {
		time.Sleep(hold)
		err = silent(from, to)
		time.Sleep(f.last - hold - watch)
	}
	return errors.Join(err, end())
}

// silent watches that nothing comes from one side to the other.
func silent(from, to []*process) error {
	before := make([]map[int]int, len(to))
	for i, s := range to {
		if err := s.ask("heard", &before[i]); err != nil {
			return err
		}
	}
	time.Sleep(watch)
	for i, s := range to {
		var after map[int]int
		if err := s.ask("heard", &after); err != nil {
			return err
		}
		for _, o := range from {
			if before[i][o.origin] == 0 {
				return fmt.Errorf("server %s has never heard %s", s.id, o.id)
			}
			if after[o.origin] != before[i][o.origin] {
				return fmt.Errorf("%w: server %s has heard %d deliveries of %s within %v", errNoBite, s.id, after[o.origin]-before[i][o.origin], o.id, watch)
			}
		}
	}
	return nil
}

// reconnects does something that costs connections, and waits until servers have made new ones.
func (c *trial) reconnects(do func() error) error {
	before, err := c.ups()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return wait("a server to connect anew", func() (bool, error) {
		now, err := c.ups()
		return now > before, err
	})
}
