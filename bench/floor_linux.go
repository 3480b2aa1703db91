package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// A floor is the least that a server could do: one thread, one epoll, and for the clients of the crowd just what they need. It does not
// check what they send. There are two: one that makes a write(2) of each frame, and one that makes one of all frames that wait for a
// client when everything that has come was read.
type floor struct {
	gather bool
	poll   *poller
	conns  map[int]*floorConn
	rooms  map[string][]*floorConn
	dirty  []*floorConn
	buf    []byte
	frame  []byte
}

type floorConn struct {
	fd   int
	id   string
	in   []byte // received, and not whole
	open bool   // the handshake is over
	out  []byte // with gather: what waits
}

// serveEpoll is the floor as a contender.
func serveEpoll(args []string) (string, error) {
	f := &floor{conns: map[int]*floorConn{}, rooms: map[string][]*floorConn{}, buf: make([]byte, 256<<10)}
	flags := flag.NewFlagSet("epoll", flag.ContinueOnError)
	flags.BoolVar(&f.gather, "gather", false, "")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if err := allowFiles(spareFiles); err != nil {
		return "", err
	}
	listener, address, err := listen()
	if err != nil {
		return "", err
	}
	if f.poll, err = newPoller(); err != nil {
		return "", err
	}
	if err := f.poll.add(listener, listener); err != nil {
		return "", err
	}
	go func() {
		// It ends with the process.
		runtime.LockOSThread()
		for {
			err := f.poll.wait(func(fd int) {
				if fd == listener {
					f.accept(listener)
					return
				}
				f.read(f.conns[fd])
			})
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench: floor:", err)
				os.Exit(1)
			}
			f.flush()
		}
	}()
	return address, nil
}

func (f *floor) accept(listener int) {
	fd, err := accept(listener)
	if err == nil {
		err = f.poll.add(fd, fd)
	}
	if err == nil {
		err = syscall.SetNonblock(fd, false) // it is read when there is something, and may wait to write
	}
	if err != nil {
		return // the client notices
	}
	f.conns[fd] = &floorConn{fd: fd, id: fmt.Sprintf("floor%015d", fd)}
}

// read takes what has come.
func (f *floor) read(c *floorConn) {
	if c == nil {
		return
	}
	n, err := read(c.fd, f.buf)
	if err != nil {
		f.close(c)
		return
	}
	p := f.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, p...)
		p = c.in
	}
	if !c.open {
		_, rest, found := bytes.Cut(p, []byte("\r\n\r\n"))
		if !found {
			c.in = append(c.in[:0], p...)
			return
		}
		c.open = true
		p = rest
		f.send(c, append([]byte(floorAnswer), appendFrame(nil, finText, []byte(floorOpen))...))
	}
	for {
		payload, size := unmask(p)
		if size == 0 {
			break
		}
		f.message(c, payload)
		p = p[size:]
	}
	c.in = append(c.in[:0], p...)
	if len(c.in) == 0 && cap(c.in) > 4096 {
		c.in = nil
	}
}

// message does what a message asks for.
func (f *floor) message(c *floorConn, p []byte) {
	switch {
	case bytes.HasPrefix(p, []byte("40")):
		f.rooms[c.id] = []*floorConn{c}
		f.send(c, appendFrame(nil, finText, fmt.Appendf(nil, `40{"sid":%q}`, c.id)))
	case bytes.HasPrefix(p, []byte("42")):
		ack, event, _ := bytes.Cut(p[2:], []byte(`["`))
		name, args, _ := bytes.Cut(event, []byte(`","`))
		switch string(name) {
		case "join":
			for room := range bytes.SplitSeq(bytes.TrimSuffix(args, []byte(`"]`)), []byte(`","`)) {
				f.rooms[string(room)] = append(f.rooms[string(room)], c)
			}
			f.send(c, appendFrame(nil, finText, fmt.Appendf(nil, `43%s[""]`, ack)))
		case "echo":
			f.frame = append(append(append(f.frame[:0], "43"...), ack...), `["`...)
			f.frame = append(f.frame, args...)
			f.send(c, appendFrame(nil, finText, f.frame))
		case "publish":
			room, data, _ := bytes.Cut(args, []byte(`","`))
			f.frame = append(append(f.frame[:0], messagePrefix...), data...)
			frame := appendFrame(nil, finText, f.frame)
			for _, to := range f.rooms[string(room)] {
				f.send(to, frame)
			}
		}
	}
}

// send writes a frame, or has it wait.
func (f *floor) send(c *floorConn, frame []byte) {
	if !f.gather {
		write(c.fd, frame) // of one that has gone, reading tells
		return
	}
	if len(c.out) == 0 {
		f.dirty = append(f.dirty, c)
	}
	c.out = append(c.out, frame...)
}

// flush writes what waits.
func (f *floor) flush() {
	for _, c := range f.dirty {
		write(c.fd, c.out)
		c.out = c.out[:0]
	}
	f.dirty = f.dirty[:0]
}

func (f *floor) close(c *floorConn) {
	syscall.Close(c.fd)
	delete(f.conns, c.fd)
	for name, members := range f.rooms {
		for i, m := range members {
			if m == c {
				f.rooms[name] = append(members[:i:i], members[i+1:]...)
				break
			}
		}
	}
}

// unmask takes the first frame of a client off p, and undoes its mask in place (RFC 6455 section 5.3). size is 0 if p does not hold all
// of it.
func unmask(p []byte) (payload []byte, size int) {
	if len(p) < 2 {
		return nil, 0
	}
	header, length := 2, int(p[1]&0x7f)
	switch {
	case length == 126 && len(p) >= 4:
		header, length = 4, int(p[2])<<8|int(p[3])
	case length == 127 && len(p) >= 10:
		header, length = 10, int(p[6])<<24|int(p[7])<<16|int(p[8])<<8|int(p[9])
	case length > 125:
		return nil, 0
	}
	if size = header + 4 + length; len(p) < size {
		return nil, 0
	}
	key, payload := p[header:header+4], p[header+4:size]
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	return payload, size
}
