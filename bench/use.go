package main

import (
	"os"
	"runtime"
	"time"
)

// use is what was used by whom.
type use struct {
	nodes                  []time.Duration // each node's
	servers, broker, crowd time.Duration   // servers is that of all nodes
	others                 float64         // share of all processors
}

// used measures what is used while something is done.
func (d *duel) used(do func() error) (u use, err error) {
	read := func() (u use, busy time.Duration, err error) {
		for _, n := range d.nodes {
			c, err := n.cpu()
			if err != nil {
				return u, 0, err
			}
			u.nodes = append(u.nodes, c.total())
			u.servers += c.total()
		}
		if d.broker != nil && !d.trial.outage { // what is killed takes with it what it has used
			if u.broker, err = d.broker.cpu(); err != nil {
				return u, 0, err
			}
		}
		c, err := processCPU(d.crowd.cmd.Process.Pid)
		if err != nil {
			return u, 0, err
		}
		u.crowd = c.total()
		own, err := processCPU(os.Getpid())
		if err != nil {
			return u, 0, err
		}
		all, err := machineCPU()
		return u, all - own.total(), err
	}
	before, busyBefore, err := read()
	if err != nil {
		return u, err
	}
	begun := time.Now()
	if err := do(); err != nil {
		return u, err
	}
	elapsed := time.Since(begun)
	after, busyAfter, err := read()
	u = use{servers: after.servers - before.servers, broker: after.broker - before.broker, crowd: after.crowd - before.crowd}
	for i, n := range after.nodes {
		u.nodes = append(u.nodes, n-before.nodes[i])
	}
	others := busyAfter - busyBefore - u.servers - u.broker - u.crowd
	u.others = others.Seconds() / elapsed.Seconds() / float64(runtime.NumCPU())
	return u, err
}

// memory is what the nodes occupy, in bytes.
func (d *duel) memory() (bytes int64, err error) {
	for _, n := range d.nodes {
		m, err := n.memory()
		if err != nil {
			return 0, err
		}
		bytes += m.Anonymous
	}
	return bytes, nil
}

func sum(all []time.Duration) (total time.Duration) {
	for _, t := range all {
		total += t
	}
	return total
}

func micros(t time.Duration) float64 { return float64(t) / float64(time.Microsecond) }
