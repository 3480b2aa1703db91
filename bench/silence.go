package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A silence is what the death of a NATS server does to a node with many rooms that uses it. Times count from the kill.
type silence struct {
	Run   int `json:"run"`
	Who   who `json:"who"`
	Rooms int `json:"rooms"`

	Ended     time.Duration `json:"ended_ns"`   // until the kernel had closed a connection of the killed server's
	First     time.Duration `json:"first_ns"`   // until the first message from another node came
	Last      time.Duration `json:"last_ns"`    // until the last message was sent that never came
	All       time.Duration `json:"all_ns"`     // until one had come to each room of the sample
	Unreached int           `json:"unreached"`  // rooms of the sample that nothing came to
	Sent      int           `json:"sent"`       // by the others, after the kill
	Lost      int           `json:"lost"`       // of these
	Late      int           `json:"late"`       // of these
	Delay     time.Duration `json:"delay_ns"`   // the longest of a message from another node that was not lost
	Beside    time.Duration `json:"beside_ns"`  // the longest delay of a message between the other nodes
	Outward   time.Duration `json:"outward_ns"` // the longest delay of a message from the node itself
	Unsent    int           `json:"unsent"`     // messages of the node itself that never came

	Node    cpu `json:"node"`    // from the kill until the end of the watch
	Brokers cpu `json:"brokers"` // of the servers that live on
}

// A who is who has the rooms.
type who string

const (
	bareClient who = "nats.go, reconnecting by itself"
	noCover    who = "belfry, Config.NoCover"
	belfry     who = "belfry"
)

// everybody is who is measured, the one that the others are compared with first.
var everybody = []who{bareClient, noCover, belfry}

const (
	late      = 100 * time.Millisecond // is a message that took longer
	dying     = 2 * time.Millisecond   // within which a killed server may still pass on a message
	beforeRun = 500 * time.Millisecond // of messages before the kill
	outRate   = 500                    // messages a second from the node itself
	besideOf  = 10                     // messages to the node, one goes to another one
)

// measureSilence does one run.
func measureSilence(ctx context.Context, cfg roomsConfig, rooms int, w who, run int) (result *silence, err error) {
	f := new(roomField)
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.openBrokers(ctx); err != nil {
		return nil, err
	}
	if w == bareClient {
		err = f.openClients(ctx)
	} else {
		err = f.openNodes(ctx, w == noCover)
	}
	if err != nil {
		return nil, err
	}
	sent, err := f.beginProbes(cfg, rooms)
	if err != nil {
		return nil, err
	}
	if err := until(ctx, "reached each other in all rooms", func() (bool, error) { return f.flowing(len(sent[1])) }); err != nil {
		return nil, err
	}
	time.Sleep(beforeRun)
	result = &silence{Run: run, Who: w, Rooms: rooms}
	killed, err := result.kill(ctx, f, cfg.Watch)
	if err != nil {
		return nil, err
	}
	noted, err := f.endProbes()
	if err != nil {
		return nil, err
	}
	result.judge(noted, sent, killed.UnixNano())
	return result, nil
}

// backRoom is a room of a node other than the first.
func backRoom(node int) string { return roomName(fmt.Sprint("back", node), 0) }

// beginProbes has the nodes join their rooms and send to each other. It returns the rooms that each sends to in turn.
func (f *roomField) beginProbes(cfg roomsConfig, rooms int) (sent [][]string, err error) {
	fill := joinArgs{Prefix: "room", Rooms: rooms, Batch: fillBatch, Callers: 1, Times: 1}
	if err := f.nodes[0].call("join", fill, nil, time.Minute); err != nil {
		return nil, err
	}
	sent = make([][]string, len(f.nodes))
	for i := 1; i < len(f.nodes); i++ {
		back := joinArgs{Prefix: fmt.Sprint("back", i), Rooms: 1, Batch: 1, Callers: 1, Times: 1}
		if err := f.nodes[i].call("join", back, nil, 0); err != nil {
			return nil, err
		}
		sent[0] = append(sent[0], backRoom(i))
		next := i%(len(f.nodes)-1) + 1
		sample := min(cfg.Sample, rooms)
		for k := range sample {
			sent[i] = append(sent[i], roomName("room", k*rooms/sample))
			if k%besideOf == 0 {
				sent[i] = append(sent[i], backRoom(next))
			}
		}
	}
	for i, n := range f.nodes {
		args := probeArgs{Rooms: sent[i], Rate: cfg.Rate / (len(f.nodes) - 1)}
		if i == 0 {
			args.Rate = outRate
		}
		if err := n.call("probe", args, nil, 0); err != nil {
			return nil, err
		}
	}
	return sent, nil
}

// flowing reports whether so many messages have come from each other node, and some at these.
func (f *roomField) flowing(messages int) (bool, error) {
	for i, n := range f.nodes {
		var counts [maxProbers]int
		if err := n.call("counts", none{}, &counts, 0); err != nil {
			return false, err
		}
		for from := range f.nodes {
			if i == 0 && from > 0 && counts[from] < messages || i > 0 && from != i && counts[from] == 0 {
				return false, nil
			}
		}
	}
	return true, nil
}

// kill kills the first node's server, and watches.
func (s *silence) kill(ctx context.Context, f *roomField, watch time.Duration) (killed time.Time, err error) {
	witness, err := net.Dial("tcp", strings.TrimPrefix(f.urls[0], "nats://"))
	if err != nil {
		return killed, err
	}
	defer witness.Close()
	before, err := f.silenceCPU()
	if err != nil {
		return killed, err
	}
	killed = time.Now()
	if err := f.brokers[0].kill(); err != nil {
		return killed, err
	}
	io.Copy(io.Discard, witness) // until it ends, which is what is waited for
	s.Ended = time.Since(killed)
	select {
	case <-time.After(watch - s.Ended):
	case <-ctx.Done():
		return killed, context.Cause(ctx)
	}
	after, err := f.silenceCPU()
	s.Node, s.Brokers = after[0].sub(before[0]), after[1].sub(before[1])
	return killed, err
}

// silenceCPU is what the node with the rooms, and the servers that live on, have used.
func (f *roomField) silenceCPU() (used [2]cpu, err error) {
	if used[0], _, err = f.nodes[0].cpu(); err != nil {
		return used, err
	}
	for _, b := range f.brokers[1:] {
		own, _, err := b.cpu()
		if err != nil {
			return used, err
		}
		used[1] = used[1].add(own)
	}
	return used, nil
}

// endProbes returns what the nodes have noted.
func (f *roomField) endProbes() ([]probes, error) {
	for _, n := range f.nodes {
		if err := n.call("hush", none{}, nil, 0); err != nil {
			return nil, err
		}
	}
	time.Sleep(2 * late)
	noted := make([]probes, len(f.nodes))
	for i, n := range f.nodes {
		if err := n.call("probes", none{}, &noted[i], 0); err != nil {
			return nil, err
		}
	}
	return noted, nil
}

// judge compares what was sent with what came. sent are the rooms that each node sent to in turn.
func (s *silence) judge(noted []probes, sent [][]string, killed int64) {
	reached := map[string]int64{} // when the first message after the kill came to a room; 0: not yet
	for from, list := range sent {
		for n, at := range noted[from].Sent {
			room := list[n%len(list)]
			to := 0
			for i := range noted {
				if room == backRoom(i) {
					to = i
				}
			}
			var came int64
			if got := noted[to].Got[from]; n < len(got) {
				came = got[n]
			}
			switch {
			case to != 0:
				s.aside(from, at, came, killed)
			case at >= killed:
				s.inward(at, came, killed)
				if first := reached[room]; at-killed >= int64(dying) && came != 0 && (first == 0 || came < first) {
					reached[room] = came
				} else {
					reached[room] = first
				}
			}
		}
	}
	for _, at := range reached {
		if at == 0 {
			s.Unreached++
			continue
		}
		after := time.Duration(at - killed)
		if s.All = max(s.All, after); s.First == 0 || after < s.First {
			s.First = after
		}
	}
}

// inward takes a message to the node with the rooms, sent at a time after the kill. came is 0 if it did not come.
func (s *silence) inward(at, came, killed int64) {
	s.Sent++
	delay := time.Duration(came - at)
	switch {
	case came == 0:
		s.Lost++
		s.Last = max(s.Last, time.Duration(at-killed))
		return
	case delay > late:
		s.Late++
	}
	s.Delay = max(s.Delay, delay)
}

// aside takes a message to another node.
func (s *silence) aside(from int, at, came, killed int64) {
	if at < killed-int64(late) {
		return
	}
	delay := time.Duration(came - at)
	switch {
	case from > 0:
		if came != 0 {
			s.Beside = max(s.Beside, delay)
		}
	case came == 0:
		s.Unsent++
	default:
		s.Outward = max(s.Outward, delay)
	}
}
