package envelope

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

func TestRefused(t *testing.T) {
	head, beat := "\x01\x01\x01n", "\x01\x04\x01n\x00\x00\x00"
	cases := []struct {
		name, msg string
		want      error
	}{
		{"version 0", "\x00\x06\x01n\x00\x00", ErrVersion},
		{"version 2", "\x02\x06\x01n\x00\x00", ErrVersion},
		{"kind 0", "\x01\x00\x01n\x00\x00", ErrKind},
		{"kind 13", "\x01\x0d\x01n\x00\x00", ErrKind},
		{"kind 255", "\x01\xff\x01n\x00\x00", ErrKind},
		{"no sender", "\x01\x06\x00\x00\x00", ErrMalformed},
		{"a broadcast of nobody", "\x01\x01\x00\x01\x01\x01\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"number of 11 bytes", "\x01\x05\x01n\x00\x00\x00" + strings.Repeat("\xff", 10) + "\x01\x00", ErrMalformed},
		{"number beyond 64 bits", "\x01\x05\x01n\x00\x00\x00" + strings.Repeat("\xff", 9) + "\x02", ErrMalformed},
		{"age beyond a duration", "\x01\x05\x01n\x00\x00" + strings.Repeat("\xff", 9) + "\x01\x00", ErrMalformed},
		{"route 0", head + "\x01\x01\x01\x00\x00\x00\x00\x00\x00", ErrMalformed},
		{"route 5", head + "\x01\x01\x01\x05\x00\x00\x00\x00\x00", ErrMalformed},
		{"request to the cluster with one link", head + "\x01\x01\x01\x03\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request among rooms without rooms", head + "\x01\x01\x01\x03\x02\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request among rooms with two links for two", head + "\x01\x02\x01\x01\x03\x02\x00\x02\x01a\x01b\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request to no node", head + "\x01\x01\x01\x04\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00", ErrMalformed},
		{"request to a node with two links", head + "\x01\x02\x01\x01\x04\x00\x00\x00\x00\x00\x03\x01\x01n\x00\x00", ErrMalformed},
		{"request that is not there", head + "\x01\x01\x01\x04\x00\x00\x00\x00\x00", ErrMalformed},
		{"stamp without topics", head + "\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"namespace with two links", head + "\x02\x02\x01\x01\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"namespace among rooms without rooms", head + "\x01\x01\x01\x01\x02\x00\x00\x00\x00", ErrMalformed},
		{"namespace among rooms with two links for two", head + "\x02\x02\x01\x01\x01\x02\x00\x02\x01a\x01b\x00\x00", ErrMalformed},
		{"rooms without rooms", head + "\x01\x00\x02\x00\x00\x00\x00\x00", ErrMalformed},
		{"two links for a room", head + "\x02\x02\x01\x01\x02\x00\x00\x01\x01a\x00\x00", ErrMalformed},
		{"link to itself", head + "\x01\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"link below zero", head + "\x01\x01\x02\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"repair that links to itself", "\x01\x0a\x01n\x01m\x01\x01\x00\x01\x00\x00\x00\x00\x00", ErrMalformed},
		{"repair without a route", "\x01\x0a\x01n\x01m\x01\x01\x01\x00\x00\x00\x00\x00\x00", ErrMalformed},
		{"beat that ends before it begins", beat + "\x05\x04\x00\x00\x01\x00", ErrMalformed},
		{"horizon beyond the end", beat + "\x04\x04\x05\x00\x01\x00", ErrMalformed},
		{"part beyond the parts", beat + "\x04\x04\x00\x01\x01\x00", ErrMalformed},
		{"no parts", beat + "\x04\x04\x00\x00\x00\x00", ErrMalformed},
		{"more parts than a number holds", beat + "\x04\x04\x00\x00\x80\x80\x80\x80\x08\x00", ErrMalformed},
		{"tail beyond the end", beat + "\x04\x04\x00\x00\x01\x01hashhash\x05", ErrMalformed},
		{"tail without a hash", beat + "\x04\x04\x00\x00\x01\x01hash", ErrMalformed},
		{"beat that announces what it heard, and does not say it", "\x01\x04\x01n\x00\x04\x00\x04\x04\x00\x00\x01\x00", ErrMalformed},
		{"beat that has heard of none", "\x01\x04\x01n\x00\x04\x00\x04\x04\x00\x00\x01\x00\x00", ErrMalformed},
		{"ack that has heard of more than there is", "\x01\x03\x01n\x01m\x04\x00\x01\x01\x00\x02\x01b\x00\x00\x00\x00\x00", ErrMalformed},
		{"ack with a tail without a hash", "\x01\x03\x01n\x01m\x04\x00\x01\x01\x00\x01\x01b\x00\x00\x00\x00\x01hash", ErrMalformed},
		{"nack of more than was sent", "\x01\x07\x01n\x01m\x01hashhash\x04\x05", ErrMalformed},
		{"nack with fewer ranges than it says", "\x01\x07\x01n\x01m\x02hashhash\x04\x01", ErrMalformed},
		{"gone 0", "\x01\x08\x01n\x01m\x00\x01\x00\x00", ErrMalformed},
		{"gone twice", "\x01\x08\x01n\x01m\x00\x02\x05\x00\x05\x00", ErrMalformed},
		{"gone in descending order", "\x01\x08\x01n\x01m\x00\x02\x05\x00\x04\x00", ErrMalformed},
		{"gone with a link below zero", "\x01\x08\x01n\x01m\x00\x01\x05\x01hashhash\x06", ErrMalformed},
		{"chunk without bytes", "\x01\x0b\x01n\x01\x00\x02", ErrMalformed},
		{"chunk beyond the last", "\x01\x0b\x01n\x01\x02\x02hi", ErrMalformed},
		{"chunk of none", "\x01\x0b\x01n\x01\x00\x00hi", ErrMalformed},
		{"chunk of more than a number holds", "\x01\x0b\x01n\x01\x00\x80\x80\x80\x80\x08hi", ErrMalformed},
	}
	for _, c := range cases {
		if m, err := Decode([]byte(c.msg)); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: decoded %+v, %v; want %v", c.name, m, err, c.want)
		}
	}
	for _, msg := range [][]byte{nil, {}, {Version}} {
		if _, err := Decode(msg); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v, want ErrMalformed", len(msg), err)
		}
	}
}

// A count costs no memory before what it counts is there.
func TestHostileCounts(t *testing.T) {
	huge := "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	for name, msg := range map[string]string{
		"links":    "\x01\x01\x01n\x01" + huge,
		"rooms":    "\x01\x01\x01n\x01\x01\x01\x01\x00\x00" + huge,
		"except":   "\x01\x01\x01n\x01\x01\x01\x01\x00\x00\x00" + huge,
		"payload":  "\x01\x01\x01n\x01\x01\x01\x01\x00\x00\x00\x00" + huge,
		"argument": "\x01\x01\x01n\x01\x01\x01\x04\x00\x00\x00\x00\x00\x0b\x01\x01n\x00" + huge,
		"sender":   "\x01\x06" + huge,
		"receiver": "\x01\x06\x01n" + huge,
		"members":  "\x01\x03\x01n\x01m\x00\x00\x00\x00" + huge,
		"tails":    "\x01\x04\x01n\x00\x00\x00\x00\x00\x00\x00\x01" + huge,
		"parts":    "\x01\x04\x01n\x00\x00\x00\x00\x00\x00" + huge + huge + "\x00",
		"ranges":   "\x01\x07\x01n\x01m" + huge,
		"numbers":  "\x01\x08\x01n\x01m\x00" + huge,
		"gone":     "\x01\x08\x01n\x01m\x00\x01\x05" + huge,
		"chunks":   "\x01\x0b\x01n\x01\x00" + huge,
	} {
		msg := append([]byte(msg), make([]byte, 100)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(msg)
		runtime.ReadMemStats(&after)
		kit.ErrorIs(t, err, ErrMalformed, name)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes allocated for a message of %d", name, n, len(msg))
		}
	}
}
