// Returns has clients of several nodes lose their connections and come back, to any node, while all
// nodes broadcast to rooms whose members change, and finds out whether those whose session was
// recovered have got everything that they were due, once and in order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/test/child"
)

// The processes of a run, besides itself.
var roles = map[string]child.Role{"nats": beNATS, "node": beNode}

func main() {
	child.Main(roles)
	f := flag.NewFlagSet("returns", flag.ExitOnError)
	cfg := config{say: func(format string, args ...any) {
		fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}}
	f.IntVar(&cfg.nodes, "nodes", 3, "how `many` nodes serve clients")
	f.IntVar(&cfg.clients, "clients", 2000, "how `many` clients there are")
	f.IntVar(&cfg.Rooms, "rooms", 200, "how `many` rooms there are")
	f.IntVar(&cfg.Rate, "rate", 1000, "how `many` broadcasts a second the nodes emit together")
	f.DurationVar(&cfg.last, "for", 5*time.Minute, "how `long` clients come and go")
	f.DurationVar(&cfg.drop, "drop", 10*time.Second, "the mean `time` until a client loses its connection; 0 for never")
	f.DurationVar(&cfg.change, "change", 20*time.Second, "the mean `time` until a client's rooms change")
	f.IntVar(&cfg.polling, "polling", 5, "of 100 clients, so `many` poll, and as many poll at first")
	f.BoolVar(&cfg.balanced, "balanced", false, "a balancer picks a node for every request, and not\n"+
		"each client one for its connection")
	f.IntVar(&cfg.words, "words", 0, "how `many` events a second clients send; each is answered with one")
	f.BoolVar(&cfg.recovery, "recovery", true, "recover sessions; without it, all are to be refused")
	f.Float64Var(&cfg.least, "recovered", 1, "the `share` of the returns that must be recovered")
	f.BoolVar(&cfg.faults.nats, "kill-nats", false, "NATS servers are killed, and come back")
	f.BoolVar(&cfg.faults.node, "kill-node", false, "nodes without clients join and are killed")
	f.BoolVar(&cfg.faults.owner, "kill-owner", false, "nodes with clients are killed and replaced: their sessions\n"+
		"are lost, and those alone")
	f.IntVar(&cfg.pace, "pace", 100, "how `many` connections a second a node that drains ends at the most")
	f.BoolVar(&cfg.faults.roll, "replace", false, "the nodes are drained and replaced, one by one;\n"+
		"-for is the time between that")
	f.BoolVar(&cfg.faults.killed, "kill-draining", false, "with -replace, each is killed while it drains")
	f.Uint64Var(&cfg.Seed, "seed", 0, "of the load and the drops; 0 is a new one each time")
	f.Usage = func() {
		fmt.Fprint(f.Output(), `Returns has clients of several nodes lose their connections and come back to any node, half of the time
before the server has noticed, while all nodes broadcast to rooms, to unions of them, with exceptions, to all
and to single clients, and the clients' rooms change, by their own request and by that of a node. In the end
it checks what each session was due: exactly, but for what was emitted when a change of its rooms was under
way. With its defaults it needs a quiet machine with four processors; fewer clients need less.

Exit status 1 if a session has lost an event, has it twice or out of order, or has one that was not for it,
or if too few were recovered. A session that was refused counts until it was lost.

  go run ./test/returns
  go run ./test/returns -kill-nats -recovered 0.95
  go run ./test/returns -clients 3000 -rate 2000 -drop 0 -replace
  go run ./test/returns -balanced -clients 1000 -polling 100 -rate 1 -words 200 -drop 0

`)
		f.PrintDefaults()
	}
	f.Parse(os.Args[1:])
	if cfg.Seed == 0 {
		cfg.Seed = uint64(time.Now().UnixNano())
	}
	if cfg.strict = true; !cfg.recovery {
		cfg.least = 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg.say("seed %d", cfg.Seed)
	res, err := run(ctx, cfg)
	if err == nil {
		res.tell(cfg.say)
		err = res.judge(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "returns:", err)
		os.Exit(1)
	}
}

// judge is what is wrong.
func (r *result) judge(cfg config) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.faults() > 0 {
		wrong("%d lost, %d doubled, %d out of order, %d not due", r.Lost, r.Doubled, r.Disorder, r.Ghosts)
		for _, w := range r.wrong[:min(20, len(r.wrong))] {
			wrong("  %s", w)
		}
	}
	share, returns := r.tally.share()
	if returns == 0 && (cfg.drop > 0 || cfg.faults.roll) {
		wrong("no client came back")
	}
	if cfg.faults.owner && r.tally.orphaned == 0 {
		wrong("no client has lost its node")
	}
	if returns > 0 && share < cfg.least {
		wrong("%.2f %% of the returns were recovered, want %.0f %%", 100*share, 100*cfg.least)
		for _, text := range r.tally.refusals {
			wrong("  refused: %s", text)
		}
	}
	if !cfg.recovery && share > 0 {
		wrong("sessions were recovered, though recovery is off")
	}
	if 2*r.Due < r.Optional {
		wrong("%d deliveries are due, and %d may be or not: too little is known to tell anything", r.Due, r.Optional)
	}
	if cfg.balanced {
		r.tally.polls.judge(cfg, wrong)
	}
	if n := len(r.tally.farewells); n > 0 {
		wrong("servers told clients %d times not to come back, with %s", n, r.tally.farewells[0])
	}
	if cfg.strict && cfg.faults.roll {
		r.tally.judgeRoll(cfg, wrong)
	}
	for _, s := range r.stats {
		if s.Halves > 0 {
			wrong("%d sockets were recovered without their data", s.Halves)
		}
	}
	return errors.Join(errs...)
}

// tell says what has happened.
func (r *result) tell(say func(string, ...any)) {
	t := r.tally
	say("%s", t.progress())
	say("%d sessions: %d deliveries were due, %d may have been, %d were not; "+
		"lost %d, doubled %d, out of order %d, not due %d",
		r.sessions, r.Due, r.Optional, r.NotDue, r.Lost, r.Doubled, r.Disorder, r.Ghosts)
	say("what is emitted less than %v before a change of a client's rooms may reach it or not: so late are deliveries",
		r.late.Round(time.Millisecond))
	say("from the loss of a connection to being back: %v; from the last attempt: %v", &t.backs, &t.connects)
	if quiet, drain := t.p99("quiet"), t.p99("drain"); drain > 0 {
		say("p99 of deliveries to those who stay, by the median of the phases: %v, and %v while a node drains",
			quiet, drain)
	}
	t.polls.tell(say)
	if len(t.ends) > 0 {
		say("servers ended %d connections, at the most %d in a second; from there to being back: %v",
			len(t.ends), t.pace(), &t.returns)
	}
	for _, p := range t.phases {
		say("deliveries to those who stay, %s: %v", p.name, &p.deliveries)
	}
	if t.lastChange != nil {
		say("changes that failed were tried again; the last failed with: %v", t.lastChange)
	}
	if t.failure != nil {
		say("the last attempt to connect that failed: %v", t.failure)
	}
	sockets := 0
	for _, s := range r.stats {
		sockets += s.Sockets
		a := s.Stats.Adapter
		say("a node: %d sockets, recovery %+v; repaired %d, missed %d, unknown %d; %d errors of handlers",
			s.Sockets, s.Stats.Recovery, a.Repaired, a.Missed, a.Unknown, s.Errors)
	}
	say("NATS has %d subscriptions of %d sockets, %d before any return; %d sessions have moved twice or more",
		r.later, sockets, r.subscriptions, r.moved)
}
