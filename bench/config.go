package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const help = `Bench measures what fan-out costs the server, beside a bare write loop in
the same run, and what an idle socket costs. It takes four to five minutes.

  go run ./bench
  go run ./bench -members 100 -duration 1s -runs 1 -idle 0

Other commands, each with a -h of its own:
  rooms            a node with very many rooms
  -peers           belfry beside what people use instead
  -compare A B     two results of -peers beside each other; -show A prints one
  -url URL         a load test of your own server

Flags:
  -members n       sockets in the room (default 1000)
  -inflight n      publishes in flight (default 16)
  -publishers n    sockets that publish, at the most -inflight (default 4)
  -size n          bytes of a publish: the length of its one string (default 128)
  -duration d      how long a run publishes, after a warm-up (default 3s)
  -publishes n     how many publishes a run has, instead of -duration
  -nodes list      sizes of clusters, such as 1,3; more than one node is joined
                   by a NATS server that is started for it (default 1,3)
  -recovery        measure each of the servers with Config.Recovery, too; idle
                   sockets with it alone
  -idle n          idle sockets whose memory is measured; 0 leaves it out
                   (default 5000)
  -settle d        how long after their connecting (default 1m)
  -runs n          how often everything is measured (default 3)
  -json file       write everything that was measured to a file, too
  -cpuprofile pre  write CPU profiles of the servers to files whose names begin
                   with pre
  -h               this help

It ends with 1 if a delivery was missing, doubled or out of order. Ctrl-C ends
it early.
`

// A config is what the flags say.
type config struct {
	Members    int           `json:"members"`
	InFlight   int           `json:"in_flight"`
	Publishers int           `json:"publishers"`
	Size       int           `json:"size"`
	Duration   time.Duration `json:"duration_ns"`
	Publishes  int           `json:"publishes"` // 0 means that Duration counts
	Nodes      []int         `json:"nodes"`
	Recovery   bool          `json:"recovery"`
	Idle       int           `json:"idle"`
	Settle     time.Duration `json:"settle_ns"`
	Runs       int           `json:"runs"`
	JSON       string        `json:"-"`
	CPUProfile string        `json:"cpu_profile,omitempty"`
}

// A usageError says what is wrong with the flags.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() + " (-h helps)" }
func (e usageError) Unwrap() error { return e.err }

// readFlags parses args, in which there may be nothing but flags.
func readFlags(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard) // main prints errors, run prints help
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: want flags only", flags.Arg(0))
	}
	return err
}

// parse reads the flags. Its errors are usageErrors; that of -h wraps flag.ErrHelp.
func parse(args []string) (config, error) {
	var cfg config
	var nodes string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&cfg.Members, "members", 1000, "")
	flags.IntVar(&cfg.InFlight, "inflight", 16, "")
	flags.IntVar(&cfg.Publishers, "publishers", 4, "")
	flags.IntVar(&cfg.Size, "size", 128, "")
	flags.DurationVar(&cfg.Duration, "duration", 3*time.Second, "")
	flags.IntVar(&cfg.Publishes, "publishes", 0, "")
	flags.StringVar(&nodes, "nodes", "1,3", "")
	flags.BoolVar(&cfg.Recovery, "recovery", false, "")
	flags.IntVar(&cfg.Idle, "idle", 5000, "")
	flags.DurationVar(&cfg.Settle, "settle", time.Minute, "")
	flags.IntVar(&cfg.Runs, "runs", 3, "")
	flags.StringVar(&cfg.JSON, "json", "", "")
	flags.StringVar(&cfg.CPUProfile, "cpuprofile", "", "")
	err := readFlags(flags, args)
	if err == nil {
		cfg.Nodes, err = parseList("nodes", nodes, 64)
	}
	if err == nil {
		given := false
		flags.Visit(func(f *flag.Flag) { given = given || f.Name == "publishers" })
		if !given {
			cfg.Publishers = min(cfg.Publishers, cfg.InFlight)
		}
		err = cfg.check()
	}
	if err != nil {
		return config{}, usageError{err}
	}
	return cfg, nil
}

// parseList reads the numbers of a flag, each of them once.
func parseList(name, list string, most int) (numbers []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("-%s %q: want numbers from 1 to %d, separated by commas", name, list, most)
		}
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// A bound is what the number of a flag may be.
type bound struct {
	name            string
	value, min, max int
}

func checkBounds(bounds ...bound) error {
	for _, b := range bounds {
		if b.value < b.min || b.value > b.max {
			return fmt.Errorf("-%s %d: want %d to %d", b.name, b.value, b.min, b.max)
		}
	}
	return nil
}

func (cfg config) check() error {
	if cfg.Settle < 0 || cfg.Settle > time.Hour {
		return fmt.Errorf("-settle %v: want a time of an hour at the most", cfg.Settle)
	}
	if cfg.Duration <= 0 || cfg.Duration > time.Hour {
		return fmt.Errorf("-duration %v: want more than nothing, and an hour at the most", cfg.Duration)
	}
	return checkBounds(
		bound{"members", cfg.Members, 1, 1 << 20},
		bound{"inflight", cfg.InFlight, 1, 1024},
		bound{"publishers", cfg.Publishers, 1, min(cfg.InFlight, maxPublishers)},
		bound{"size", cfg.Size, minSize, 256 << 10},
		bound{"publishes", cfg.Publishes, 0, 1 << 30},
		bound{"idle", cfg.Idle, 0, 1 << 20},
		bound{"runs", cfg.Runs, 1, 1000},
	)
}

// setups are what is measured in each run.
func (cfg config) setups() []setup {
	all := []setup{{Batch: 1}}
	if cfg.InFlight > 1 {
		all = append(all, setup{Batch: cfg.InFlight})
	}
	for _, n := range cfg.Nodes {
		all = append(all, setup{Nodes: n})
		if cfg.Recovery {
			all = append(all, setup{Nodes: n, Recovery: true})
		}
	}
	return all
}
