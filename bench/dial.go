package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// dialArgs say whom to connect.
type dialArgs struct {
	Addresses  []string `json:"addresses"` // of the nodes: each gets every so-manieth client
	Bare       bool     `json:"bare"`      // a bareLoop is there
	Sockets    int      `json:"sockets"`
	Join       bool     `json:"join"`       // make them members of the room
	Publishers int      `json:"publishers"` // besides
	Size       int      `json:"size"`       // of a payload
}

// dialers is how many connections begin at a time.
const dialers = 8

// dial connects more clients. It must not be called during a run.
func (l *load) dial(args dialArgs) error {
	if len(args.Addresses) == 0 {
		return errors.New("no address")
	}
	l.mu.Lock()
	count := len(l.clients) + args.Sockets + args.Publishers
	l.mu.Unlock()
	if err := allowFiles(count + spareFiles); err != nil {
		return err
	}
	if l.poll == nil {
		var err error
		if l.poll, err = newPoller(); err != nil {
			return err
		}
		go l.loop() // it ends with the process
	}
	members, err := connect(args, args.Sockets, args.Join)
	if err != nil {
		return err
	}
	// A bareLoop takes the last connection for its publisher.
	publishers, err := connect(args, args.Publishers, false)
	if err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.bare, l.parser = args.Bare, newMessageParser(max(args.Size, minSize))
	for _, c := range members {
		if args.Join {
			received := newChecker(args.Publishers)
			c.received = &received
			l.members++
		}
	}
	for i, c := range publishers {
		l.publishers = append(l.publishers, &publisher{client: c, id: i})
	}
	for _, c := range slices.Concat(members, publishers) {
		l.clients = append(l.clients, c)
		if err := l.poll.add(c.fd, len(l.clients)-1); err != nil {
			return err
		}
	}
	return nil
}

// connect makes n clients, spread over the addresses.
func connect(args dialArgs, n int, join bool) ([]*client, error) {
	clients := make([]*client, n)
	errs := make([]error, dialers)
	var working sync.WaitGroup
	for d := range dialers {
		working.Go(func() {
			for i := d; i < n && errs[d] == nil; i += dialers {
				c := new(client)
				address := args.Addresses[i%len(args.Addresses)]
				var err error
				if args.Bare {
					c.fd, err = dial(address)
				} else if err = c.open(address); err == nil && join {
					err = c.join()
				}
				if err != nil {
					errs[d] = fmt.Errorf("client %d of %d: %w", i+1, n, err)
				}
				clients[i] = c
			}
		})
	}
	working.Wait()
	return clients, errors.Join(errs...)
}
