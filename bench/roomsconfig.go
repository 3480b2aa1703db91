package main

import (
	"flag"
	"fmt"
	"slices"
	"time"
)

// roomsCommand is the first argument for what this file is about.
const roomsCommand = "rooms"

const roomsHelp = `Bench rooms measures a node with very many rooms in a cluster of three NATS
servers: what it and the servers keep for each, how fast it joins them, and what
it does not hear, and for how long, after the NATS server that it uses was
killed. A bare client of nats.go with as many subscriptions does the same beside
it. It takes some minutes.

  go run ./bench rooms
  go run ./bench rooms -rooms 1000 -runs 1 -watch 2s

Flags:
  -rooms list      how many rooms, such as 1000,10000; memory and joins are
                   measured with the most (default 1000,10000,100000)
  -sample n        rooms that two other nodes send to, in turn, around the kill
                   (default 1000)
  -rate n          messages a second that they send together (default 10000)
  -watch d         how long they go on after the kill (default 6s)
  -only what       memory or silence; empty means both
  -runs n          how often everything is measured (default 3)
  -json file       write everything that was measured to a file, too
  -h               this help

It ends with 1 if a room was not reached any more. Ctrl-C ends it early.
`

// A roomsConfig is what the flags of the rooms command say.
type roomsConfig struct {
	Rooms  []int         `json:"rooms"`
	Sample int           `json:"sample"`
	Rate   int           `json:"rate"`
	Watch  time.Duration `json:"watch_ns"`
	Only   string        `json:"only,omitempty"`
	Runs   int           `json:"runs"`
	JSON   string        `json:"-"`
}

const (
	onlyMemory  = "memory"
	onlySilence = "silence"
)

// parseRooms reads the flags behind the rooms command. Its errors are those of parse.
func parseRooms(args []string) (roomsConfig, error) {
	var cfg roomsConfig
	var rooms string
	flags := flag.NewFlagSet("bench rooms", flag.ContinueOnError)
	flags.StringVar(&rooms, "rooms", "1000,10000,100000", "")
	flags.IntVar(&cfg.Sample, "sample", 1000, "")
	flags.IntVar(&cfg.Rate, "rate", 10_000, "")
	flags.DurationVar(&cfg.Watch, "watch", 6*time.Second, "")
	flags.StringVar(&cfg.Only, "only", "", "")
	flags.IntVar(&cfg.Runs, "runs", 3, "")
	flags.StringVar(&cfg.JSON, "json", "", "")
	err := readFlags(flags, args)
	if err == nil {
		cfg.Rooms, err = parseList("rooms", rooms, 1_000_000)
	}
	if err == nil {
		err = cfg.check()
	}
	if err != nil {
		return roomsConfig{}, usageError{err}
	}
	slices.Sort(cfg.Rooms)
	return cfg, nil
}

func (cfg roomsConfig) check() error {
	switch {
	case cfg.Watch < 500*time.Millisecond || cfg.Watch > time.Minute:
		return fmt.Errorf("-watch %v: want half a second to a minute", cfg.Watch)
	case cfg.Only != "" && cfg.Only != onlyMemory && cfg.Only != onlySilence:
		return fmt.Errorf("-only %q: want %s or %s", cfg.Only, onlyMemory, onlySilence)
	}
	return checkBounds(
		bound{"sample", cfg.Sample, 1, 100_000},
		bound{"rate", cfg.Rate, 100, 200_000},
		bound{"runs", cfg.Runs, 1, 1000},
	)
}
