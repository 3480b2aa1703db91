package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// serveBounce is the least that a node could do with a message over NATS: a bare client sends it back. Where it serves is the address of
// the NATS server and, as a path, its subject.
func serveBounce(args []string) (string, error) {
	flags := flag.NewFlagSet("nats", flag.ContinueOnError)
	broker := flags.String("broker", nats.DefaultURL, "")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	u, err := url.Parse(*broker)
	if err != nil {
		return "", err
	}
	conn, err := nats.Connect(*broker) // it ends with the process
	if err != nil {
		return "", err
	}
	subject := fmt.Sprint("bounce.", os.Getpid())
	_, err = conn.Subscribe(subject, func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			fmt.Fprintln(os.Stderr, "bench: bounce:", err)
			os.Exit(1)
		}
	})
	return u.Host + "/" + subject, errors.Join(err, conn.Flush())
}

// A bouncer is a bare client of NATS that sends messages to another one, and gets them back. It is asked for what the crowd is asked for.
type bouncer struct {
	conn  *nats.Conn
	back  *nats.Subscription
	to    string
	wrong crowd.Faults
}

// bounceTimeout is how long a message may take.
const bounceTimeout = 10 * time.Second

func newBouncerRole() map[string]handler {
	b := new(bouncer)
	return map[string]handler{
		"start":   handle(func(cfg crowd.Config) (none, error) { return none{}, b.start(cfg.URLs[0]) }),
		"use":     handle(func([]string) (none, error) { return none{}, nil }),
		"connect": handle(func(sockets int) (crowd.Connects, error) { return crowd.Connects{Sockets: sockets}, nil }),
		"join":    handle(func(crowd.Join) (crowd.Joins, error) { return crowd.Joins{}, nil }),
		"run":     handle(b.run),
		"check":   handle(func(none) (crowd.Faults, error) { return b.wrong, nil }),
	}
}

// start connects, to where a contender says that it serves.
func (b *bouncer) start(address string) error {
	u, err := url.Parse(address)
	if err == nil {
		b.to = strings.TrimPrefix(u.Path, "/")
		b.conn, err = nats.Connect("nats://" + u.Host) // it ends with the process
	}
	if err == nil {
		b.back, err = b.conn.SubscribeSync(nats.NewInbox())
	}
	return err
}

// run does a closed loop.
func (b *bouncer) run(f crowd.Flow) (got crowd.Result, err error) {
	if f.InFlight <= 0 || f.Size < 8 {
		return got, fmt.Errorf("%d messages of %d bytes in flight: want some, of 8 bytes at least", f.InFlight, f.Size)
	}
	payload := make([]byte, f.Size)
	var sent, took []time.Duration // when, and how long
	begun := time.Now()
	for len(took) < len(sent) || time.Since(begun) < f.Duration {
		for len(sent)-len(took) < f.InFlight && time.Since(begun) < f.Duration {
			binary.BigEndian.PutUint64(payload, uint64(len(sent)))
			sent = append(sent, time.Since(begun))
			if err := b.conn.PublishRequest(b.to, b.back.Subject, payload); err != nil {
				return got, err
			}
		}
		if len(took) == len(sent) {
			break
		}
		m, err := b.back.NextMsg(bounceTimeout)
		if err != nil {
			b.wrong.Missing += len(sent) - len(took)
			got.Stalled = true
			break
		}
		if len(m.Data) != f.Size || binary.BigEndian.Uint64(m.Data) != uint64(len(took)) {
			b.wrong.Reordered++
		}
		took = append(took, time.Since(begun)-sent[len(took)])
	}
	got.Publishes, got.Deliveries, got.Elapsed = len(sent), len(took), time.Since(begun)
	if slices.Sort(took); len(took) > 0 {
		at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
		got.P50, got.P90, got.P99, got.P999, got.Max = at(0.5), at(0.9), at(0.99), at(0.999), at(1)
		got.Last50, got.Last99 = got.P50, got.P99
	}
	return got, nil
}
