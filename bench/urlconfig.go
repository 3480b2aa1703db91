package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// The flags that ask for a load test of a server.
const (
	urlCommand      = "-url"
	scenarioCommand = "-scenario"
)

const urlHelp = `A load test of your own server: socket.io of npm, belfry, or any other that
speaks Socket.IO 3 or later. Without traffic the sockets connect, and stay.

  go run ./bench -url http://localhost:3000 -sockets 1000
  go run ./bench -url http://localhost:3000 -echo -rate 500
  go run ./bench -url http://localhost:3000 -scenario bench/scenarios/chat.json

Flags; they go over what the scenario says:
  -url list         URLs of the servers, separated by commas: sockets take turns.
                    A path in it takes the place of /socket.io/
  -scenario file    what to do, in JSON: see below
  -sockets n        how many connect (default 100)
  -connects n       connects a second (default as fast as it goes, 64 at a time)
  -transport name   websocket (default) or polling
  -namespace name   such as /chat (default /)
  -auth json        what clients authenticate with, such as '{"token":"x"}'
  -header line      a header of all requests, such as "Cookie: a=b"; may be
                    repeated
  -rooms n          each socket joins one of so many rooms, by the event
                    ["join", room] and its acknowledgement; what is sent then is
                    ["publish", room, payload]
  -echo             sockets emit ["echo", payload] and wait for the acknowledgement
  -emit json        what they emit instead, such as '["save","{payload}"]'
  -rate n           events a second, by all sockets; latency counts from when each
                    was due
  -inflight n       events under way at a time, instead of -rate (default 1)
  -size n           bytes of a payload (default 128)
  -senders n        sockets that send (default one a room; all for -echo)
  -receivers n      sockets that get each message, if not all of the room do;
                    -1 if you do not know
  -duration d       how long they stay, or send (default 10s)
  -warmup d         how long they send before that is measured
  -deflate          offer permessage-deflate
  -insecure         do not check the server's certificate
  -json file        write the report to a file, too
  -h                this help

A scenario, of which each part may be missing:
  {
    "sockets": 1000, "connects_per_second": 200,
    "namespace": "/chat", "auth": {"token": "x"},
    "join": {"rooms": 50, "emit": ["join", "{room}"], "ack": true},
    "traffic": {
      "kind": "room", "emit": ["say", "{room}", "{payload}"],
      "per_second": 100, "size": 200, "senders": 50, "receivers": 20
    },
    "warmup": "2s", "duration": "30s"
  }
kind is "echo" (the event is acknowledged), "room" (the server sends it to the
room) or "private" ({room} is the id of another socket). In the strings of emit,
{payload} is replaced by the payload, which the server must send on unchanged;
{room} by the room; {id} by the socket's own id; {socket} by its number. Also:
"urls", "transport", "headers", "deflate", "insecure", "at_once"; in "join"
"members", "per_second"; in "traffic" "in_flight", "binary", "slow".

It ends with 1 if a socket failed to connect or to join, or was lost, or if a
message was missing, doubled or out of order. Ctrl-C ends it early, with the
report until then.
`

// A urlConfig is what flags and the scenario's file say.
type urlConfig struct {
	scenario scenario
	json     string
}

// asksForURL reports whether args are those of a load test.
func asksForURL(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		return name == urlCommand || name == scenarioCommand || "-"+name == urlCommand ||
			"-"+name == scenarioCommand
	})
}

// parseURL reads the flags, and the file that they name. Its errors are usageErrors.
func parseURL(args []string) (urlConfig, error) {
	cfg := urlConfig{scenario: defaultScenario()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var file string
	flags.StringVar(&file, "scenario", "", "")
	flags.StringVar(&cfg.json, "json", "", "")
	changes := cfg.changes(flags)
	err := readFlags(flags, args)
	if i := slices.Index(args, urlCommand); err == nil && i >= 0 && strings.HasPrefix(args[i+1], "-") {
		err = errors.New("-url: want the URL of a server")
		if args[i+1] == "-h" {
			err = flag.ErrHelp
		}
	}
	if err == nil && file != "" {
		err = cfg.scenario.read(file)
	}
	for _, change := range *changes { // after the file, since they go over it
		if err == nil {
			err = change()
		}
	}
	if err == nil {
		err = cfg.scenario.check()
	}
	if err != nil {
		return urlConfig{}, usageError{err}
	}
	return cfg, nil
}

// changes defines the flags that change a scenario. What they do is appended to the list while they are
// read.
func (cfg *urlConfig) changes(flags *flag.FlagSet) *[]func() error {
	s := &cfg.scenario
	list := new([]func() error)
	later := func(name string, change func(text string) error) {
		flags.Func(name, "", func(text string) error {
			*list = append(*list, func() error {
				if err := change(text); err != nil {
					return fmt.Errorf("-%s %q: %w", name, text, err)
				}
				return nil
			})
			return nil
		})
	}
	yes := func(name string, change func()) {
		flags.BoolFunc(name, "", func(string) error {
			*list = append(*list, func() error { change(); return nil })
			return nil
		})
	}
	decode := func(want string, into func() any) func(string) error {
		return func(text string) error {
			if err := json.Unmarshal([]byte(text), into()); err != nil {
				return fmt.Errorf("want %s", want)
			}
			return nil
		}
	}
	number := func(into func() any) func(string) error { return decode("a number", into) }
	traffic := func() *traffic {
		if s.Traffic == nil {
			s.Traffic = new(traffic)
		}
		return s.Traffic
	}
	join := func() *joining {
		if s.Join == nil {
			s.Join = new(joining)
		}
		return s.Join
	}
	later("url", func(text string) error { s.URLs = strings.Split(text, ","); return nil })
	later("sockets", number(func() any { return &s.Sockets }))
	later("connects", number(func() any { return &s.Connects }))
	later("transport", func(text string) error { s.Transport = text; return nil })
	later("namespace", func(text string) error { s.Namespace = text; return nil })
	later("auth", decode("JSON, such as {\"token\":\"x\"}", func() any { return &s.Auth }))
	later("header", func(text string) error { return s.header(text) })
	later("rooms", number(func() any { return &join().Rooms }))
	yes("echo", func() { traffic().Kind = crowd.Echo })
	later("emit", decode(`an event and its arguments as JSON, such as ["say","{payload}"]`, func() any {
		return &traffic().Emit
	}))
	later("rate", number(func() any { t := traffic(); t.InFlight = 0; return &t.Rate }))
	later("inflight", number(func() any { t := traffic(); t.Rate = 0; return &t.InFlight }))
	later("size", number(func() any { return &traffic().Size }))
	later("senders", number(func() any { return &traffic().Senders }))
	later("receivers", number(func() any { return &traffic().Receivers }))
	later("duration", func(text string) error { return s.Duration.UnmarshalText([]byte(text)) })
	later("warmup", func(text string) error { return s.Warmup.UnmarshalText([]byte(text)) })
	yes("deflate", func() { s.Deflate = true })
	yes("insecure", func() { s.Insecure = true })
	return list
}

// header adds a line to the header.
func (s *scenario) header(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.ContainsAny(line, "\r\n") || strings.TrimSpace(name) == "" {
		return errors.New(`want one line such as "Cookie: a=b"`)
	}
	if s.Headers == nil {
		s.Headers = make(map[string]string)
	}
	s.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	return nil
}
