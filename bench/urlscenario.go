package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// A scenario is what a load test does: the text of its file, over which flags go. Every part may be
// missing.
type scenario struct {
	URLs      []string          `json:"urls"`
	Dialect   crowd.Dialect     `json:"dialect,omitempty"`
	Transport string            `json:"transport,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Auth      json.RawMessage   `json:"auth,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Deflate   bool              `json:"deflate,omitempty"`
	Insecure  bool              `json:"insecure,omitempty"`

	Sockets  int     `json:"sockets"`
	Connects float64 `json:"connects_per_second,omitempty"`
	AtOnce   int     `json:"at_once,omitempty"`

	Join    *joining `json:"join,omitempty"`
	Traffic *traffic `json:"traffic,omitempty"`

	Warmup   span `json:"warmup,omitempty"`
	Duration span `json:"duration"`
	Stall    span `json:"stall,omitempty"`
}

// joining is what each socket emits once it has connected.
type joining struct {
	Rooms   int     `json:"rooms"`
	Members int     `json:"members,omitempty"` // 0 is all sockets
	Emit    []any   `json:"emit,omitempty"`
	Ack     *bool   `json:"ack,omitempty"` // nil is yes
	Rate    float64 `json:"per_second,omitempty"`
}

// traffic is what sockets emit then: crowd.Flow explains it.
type traffic struct {
	Kind      string  `json:"kind"`
	Emit      []any   `json:"emit,omitempty"`
	Rate      float64 `json:"per_second,omitempty"`
	InFlight  int     `json:"in_flight,omitempty"`
	Size      int     `json:"size,omitempty"`
	Binary    bool    `json:"binary,omitempty"`
	Senders   int     `json:"senders,omitempty"`
	Receivers *int    `json:"receivers,omitempty"` // nil is the members of the room; -1 is that nobody knows
	Slow      int     `json:"slow,omitempty"`
}

// A span is a time.Duration whose JSON is text, such as "30s".
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 || d > 24*time.Hour {
		return fmt.Errorf("duration %q: want a time such as \"30s\", of a day at the most", text)
	}
	*s = span(d)
	return nil
}

// defaultScenario is what is done where neither a file nor a flag says otherwise: connect and stay.
func defaultScenario() scenario {
	return scenario{Sockets: 100, Duration: span(10 * time.Second)}
}

// read reads a file over what there is already.
func (s *scenario) read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return fmt.Errorf("scenario %s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("scenario %s: there is something behind its end", path)
	}
	return nil
}

// check says what is wrong with a scenario, as far as it can be told without a server.
func (s *scenario) check() error {
	switch {
	case len(s.URLs) == 0:
		return errors.New("no server: want -url URL, or \"urls\" in the scenario")
	case s.Sockets < 1 || s.Sockets > 1<<20:
		return fmt.Errorf("%d sockets: want 1 to %d", s.Sockets, 1<<20)
	case s.Duration <= 0:
		return errors.New("no duration: want one such as 30s")
	case s.Connects < 0 || s.AtOnce < 0:
		return errors.New("less than 0 connects at once, or a second")
	}
	if j := s.Join; j != nil && (j.Rooms < 0 || j.Members < 0 || j.Rate < 0) {
		return errors.New("join: less than 0 rooms, members or joins a second")
	}
	t := s.Traffic
	if t == nil {
		return nil
	}
	if t.Kind == "" && (s.Join != nil || t.Receivers != nil) {
		t.Kind = crowd.Room
	}
	if t.Kind == "" {
		t.Kind = crowd.Echo
	}
	switch {
	case t.Kind != crowd.Echo && t.Kind != crowd.Room && t.Kind != crowd.Private:
		return fmt.Errorf("traffic of kind %q: want echo, room or private", t.Kind)
	case t.Kind == crowd.Room && s.Join == nil && t.Receivers == nil:
		return errors.New("traffic to rooms that nobody has joined: want \"join\" (-rooms), or -receivers, " +
			"which is how many sockets get each message, or -1 if you do not know")
	case t.Receivers != nil && *t.Receivers < 0 && t.Rate == 0:
		return errors.New("nobody knows what is in flight if the receivers are not known: want -rate")
	case t.Rate < 0 || t.InFlight < 0 || t.Senders < 0 || t.Slow < 0 || t.Rate > 0 && t.InFlight > 0:
		return errors.New("traffic: exactly one of -rate and -inflight says how much, and nothing is less than 0")
	case t.Size != 0 && (t.Size < crowd.MinSize || t.Size > 8<<20):
		return fmt.Errorf("-size %d: want %d to %d", t.Size, crowd.MinSize, 8<<20)
	}
	if t.Rate == 0 && t.InFlight == 0 {
		t.InFlight = 1
	}
	return nil
}

// config is how the sockets reach the server.
func (s *scenario) config() crowd.Config {
	header := make(http.Header)
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	return crowd.Config{
		URLs: s.URLs, Dialect: s.Dialect, Transport: s.Transport, Namespace: s.Namespace, Auth: s.Auth,
		Header: header, AtOnce: s.AtOnce, Rate: s.Connects, Deflate: s.Deflate, Insecure: s.Insecure,
	}
}

// joins is how the sockets join their rooms.
func (j *joining) joins() crowd.Join {
	return crowd.Join{
		Rooms: j.Rooms, Members: j.Members, Emit: j.Emit, Ack: j.Ack == nil || *j.Ack, Rate: j.Rate,
	}
}

// flow is what the sockets do then.
func (s *scenario) flow() crowd.Flow {
	f := crowd.Flow{
		Kind: crowd.Quiet, Duration: time.Duration(s.Duration), Warmup: time.Duration(s.Warmup),
		Stall: time.Duration(s.Stall),
	}
	if t := s.Traffic; t != nil {
		f.Kind, f.Emit, f.Rate, f.InFlight, f.Size = t.Kind, t.Emit, t.Rate, t.InFlight, t.Size
		f.Binary, f.Senders, f.Slow = t.Binary, t.Senders, t.Slow
		if t.Receivers != nil {
			f.Receivers = *t.Receivers
		}
	}
	return f
}
