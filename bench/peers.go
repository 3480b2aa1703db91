package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/bench/internal/page"
	"github.com/belfry-io/belfry/bench/internal/result"
)

const peersCommand = "-peers"

const peersHelp = `Bench -peers compares belfry with the servers that people use instead, and with
floors: the least that a program could do. Each is a process of its own with
the same application; one load, a process of its own too, counts every
delivery. It takes about 15 minutes, and -all, which measures four times as
often, about 75.

  go run ./bench -peers
  go run ./bench -peers -all
  go run ./bench -peers -only room-1000 -sides 'belfry|socket.io' -runs 5

The report is Markdown on standard output. It is kept with a page that shows
it in charts, one that wants a browser and no network, in bench/results.

What is missing, such as Node.js or redis-server, is named with the way to get
it, and left out.

Flags:
  -all          all scenarios, not just the six that say most
  -only expr    scenarios whose name matches a regular expression; -list has
                the names
  -sides expr   sides whose name matches
  -list         print the scenarios and the sides, and end
  -runs n       how often everything is measured (default 3)
  -duration d   how long each run publishes, after a warm-up (default 3s)
  -most n       at the most so many sockets in a scenario, where fewer files may
                be open (default 10000)
  -rest d       how long sockets are idle before their memory is read
                (default 5s)
  -out dir      where results are kept (default bench/results)
  -h            this help

It ends with 1 if a delivery of belfry was missing, doubled or out of order.
Ctrl-C ends it early, with what was measured so far.
`

// A comparison is what -peers does.
type comparison struct {
	All      bool
	Only     *regexp.Regexp
	Sides    *regexp.Regexp
	List     bool
	Runs     int
	Duration time.Duration
	Most     int           // sockets of a scenario
	Rest     time.Duration // of idle sockets
	Out      string

	file  *result.File
	shop  *peerShop
	sides []*side
	begun time.Time
}

// parsePeers reads the flags. Its errors are those of [parse].
func parsePeers(args []string) (*comparison, error) {
	c := new(comparison)
	var only, sides string
	flags := flag.NewFlagSet("bench -peers", flag.ContinueOnError)
	flags.Bool("peers", true, "")
	flags.BoolVar(&c.All, "all", false, "")
	flags.StringVar(&only, "only", "", "")
	flags.StringVar(&sides, "sides", "", "")
	flags.BoolVar(&c.List, "list", false, "")
	flags.IntVar(&c.Runs, "runs", 3, "")
	flags.DurationVar(&c.Duration, "duration", 3*time.Second, "")
	flags.IntVar(&c.Most, "most", 10_000, "")
	flags.DurationVar(&c.Rest, "rest", 5*time.Second, "")
	flags.StringVar(&c.Out, "out", result.Dir, "")
	err := readFlags(flags, args)
	for _, e := range []struct {
		name, text string
		to         **regexp.Regexp
	}{{"only", only, &c.Only}, {"sides", sides, &c.Sides}} {
		if err == nil {
			if *e.to, err = regexp.Compile(e.text); err != nil {
				err = fmt.Errorf("-%s: %w", e.name, err)
			}
		}
	}
	if err == nil {
		err = checkBounds(bound{"runs", c.Runs, 1, 1000}, bound{"most", c.Most, 1, 1 << 20})
	}
	if err == nil && (c.Duration <= 0 || c.Duration > time.Hour) {
		err = fmt.Errorf("-duration %v: want more than nothing, and an hour at the most", c.Duration)
	}
	if err == nil && (c.Rest < 0 || c.Rest > time.Hour) {
		err = fmt.Errorf("-rest %v: want an hour at the most", c.Rest)
	}
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// scenarios are those that are asked for.
func (c *comparison) scenarios() (chosen []*trial) {
	for _, sc := range allTrials() {
		if (c.All || sc.basic || c.Only.String() != "") && c.Only.MatchString(sc.name) {
			sc.sockets = min(sc.sockets, c.Most)
			chosen = append(chosen, &sc)
		}
	}
	return chosen
}

// measurePeers compares belfry with its peers.
func measurePeers(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parsePeers(args)
	if err != nil {
		return explain(err, peersHelp, stdout)
	}
	if c.List {
		return c.list(stdout)
	}
	if err := supported(); err != nil {
		return err
	}
	c.file = &result.File{Title: "belfry beside its peers", Origin: findOrigin(ctx, args)}
	c.shop = newPeerShop(stderr)
	defer c.shop.close()
	if err := c.gather(ctx, stderr); err != nil {
		return err
	}
	failed := c.measure(ctx, stderr)
	c.file.Origin.After = loadAverage()
	return errors.Join(failed, c.keep(stdout, stderr), c.wrong())
}

// list prints what there is.
func (c *comparison) list(w io.Writer) error {
	t := page.Table{{"scenario", "what", "without -all"}}
	for _, sc := range allTrials() {
		t = append(t, []string{sc.name, sc.title, map[bool]string{true: "yes"}[sc.basic]})
	}
	t.Write(w)
	own, err := ownSides()
	if err != nil {
		return err
	}
	names := page.Table{{"side", "nodes are joined by"}}
	for _, s := range own {
		names = append(names, []string{s.name, s.broker})
	}
	for _, p := range peerPrograms {
		names = append(names, []string{p.Name, p.Broker})
	}
	names.Write(w)
	return nil
}

// gather makes the sides ready that are asked for, and notes which cannot be.
func (c *comparison) gather(ctx context.Context, progress io.Writer) error {
	own, err := ownSides()
	if err != nil {
		return err
	}
	for _, s := range own {
		if c.Sides.MatchString(s.name) {
			c.sides = append(c.sides, s)
		}
	}
	for _, p := range peerPrograms {
		if !c.Sides.MatchString(p.Name) || !slices.ContainsFunc(c.scenarios(), peerSide(c.shop, p).measures) {
			continue
		}
		err := c.ready(ctx, p)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			c.file.Missing = append(c.file.Missing, result.Missing{Side: p.Name, Why: err.Error()})
			continue
		}
		c.sides = append(c.sides, peerSide(c.shop, p))
	}
	return nil
}

// ready makes a peer ready, and its broker's program known to be there.
func (c *comparison) ready(ctx context.Context, p peerProgram) error {
	url := ""
	if p.Broker != "" {
		b, err := startBroker(ctx, p.Broker, 1)
		if err != nil {
			return err
		}
		url = b.urls[0]
		if err := b.stop(); err != nil {
			return err
		}
	}
	if _, err := c.shop.command(ctx, p, url); err != nil {
		return err
	}
	versions, err := c.shop.versions(p)
	if err == nil {
		if c.file.Origin.Programs == nil {
			c.file.Origin.Programs = map[string]string{}
		}
		for part := range strings.SplitSeq(versions, ", ") {
			if i := strings.LastIndexByte(part, ' '); i > 0 {
				c.file.Origin.Programs[part[:i]] = part[i+1:]
			}
		}
	}
	return err
}

// measure does all runs. An error is one of the program's own; what a side cannot do is noted.
func (c *comparison) measure(ctx context.Context, progress io.Writer) error {
	type turn struct {
		run   int
		trial *trial
		side  *side
	}
	var turns []turn
	scenarios := c.scenarios()
	for n := range c.Runs {
		for _, sc := range scenarios {
			for _, s := range inTurn(c.sides, n) {
				if s.measures(sc) {
					turns = append(turns, turn{n, sc, s})
				}
			}
		}
	}
	if len(turns) == 0 {
		return usageError{errors.New("nothing to measure: -list has the names of scenarios and sides")}
	}
	c.begin(scenarios)
	c.begun = time.Now()
	for i, t := range turns {
		left := ""
		if i > 0 {
			left = fmt.Sprintf(", about %v left", (time.Since(c.begun) / time.Duration(i) * time.Duration(len(turns)-i)).Round(time.Second))
		}
		fmt.Fprintf(progress, "[%d of %d%s] run %d, %s: %s: ", i+1, len(turns), left, t.run+1, t.trial.name, t.side.name)
		run, err := measureSide(ctx, t.trial, t.side, c.Duration, c.Rest)
		if ctx.Err() != nil {
			fmt.Fprintln(progress, "interrupted")
			return errors.New("interrupted")
		}
		fmt.Fprintln(progress, brief(run, err))
		to := c.file.Scenario(t.trial.name)
		if err == nil {
			to.Add(t.side.name, t.side.floor, t.side.ours, run)
			continue
		}
		c.file.Notes = append(c.file.Notes, fmt.Sprintf("%s, %s, run %d: %v", t.trial.title, t.side.name, t.run+1, err))
	}
	return nil
}

// brief is what a run is about, in a few words.
func brief(run result.Run, err error) string {
	if err != nil {
		return err.Error()
	}
	v := run.Values
	var parts []string
	for _, p := range []struct{ metric, format string }{
		{"deliveries_s", "%.0f deliveries/s"}, {"connects_s", "%.0f connects/s"}, {"joins_s", "%.0f joins/s"},
		{"cpu_us", "%.2f us of CPU each"}, {"connect_cpu_us", "%.0f us of CPU each"}, {"join_cpu_us", "%.0f us of CPU each"},
		{"p99_ms", "p99 %.1f ms"}, {"socket_bytes", "%.0f B a socket"},
	} {
		if f, ok := v[p.metric]; ok {
			parts = append(parts, fmt.Sprintf(p.format, f))
		}
	}
	for _, fault := range slices.Sorted(maps.Keys(run.Faults)) {
		if n := run.Faults[fault]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, fault))
		}
	}
	return strings.Join(append(parts, run.Notes...), ", ")
}

// begin lays out the file.
func (c *comparison) begin(scenarios []*trial) {
	for _, sc := range scenarios {
		c.file.Scenarios = append(c.file.Scenarios, result.Scenario{Name: sc.name, Title: sc.title, Text: sc.text, Metrics: sc.metrics})
	}
	for _, column := range []result.Column{
		{Scenario: "room-1000", Metric: "deliveries_s", Title: "deliveries a second"},
		{Scenario: "room-1000", Metric: "cpu_us", Title: "CPU a delivery"},
		{Scenario: "rooms-100x10", Metric: "p99_ms", Title: "p99 at 20,000 deliveries a second"},
		{Scenario: "connect-10000", Metric: "socket_bytes", Title: "memory for 10,000 sockets", Unit: "MB", Scale: 10_000.0 / (1 << 20)},
		{Scenario: "connect-10000", Metric: "connects_s", Title: "connects a second"},
		{Scenario: "cluster-1000", Metric: "cpu_us", Title: "CPU a delivery over 3 nodes"},
	} {
		if c.file.Scenario(column.Scenario) != nil {
			c.file.Summary = append(c.file.Summary, column)
		}
	}
}

// keep writes the report, and keeps it.
func (c *comparison) keep(stdout, stderr io.Writer) error {
	if err := page.Markdown(stdout, c.file); err != nil {
		return err
	}
	path, err := result.Save(c.Out, c.file)
	if err != nil {
		return err
	}
	html := strings.TrimSuffix(path, ".json") + ".html"
	if err := writePage(html, c.file); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "kept: %s\nthe page: %s\n", path, html)
	return nil
}

// wrong says what is wrong with belfry's deliveries; nil if nothing is.
func (c *comparison) wrong() error {
	for _, sc := range c.file.Scenarios {
		for _, row := range sc.Rows {
			for fault, n := range row.Faults() {
				if row.Ours && n > 0 {
					return fmt.Errorf("%s: %s: %d deliveries are %s", sc.Title, row.Side, n, fault)
				}
			}
		}
	}
	return nil
}
