package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
	"github.com/belfry-io/belfry/bench/internal/page"
	"github.com/belfry-io/belfry/bench/internal/result"
)

// write writes the report.
func (r *urlReport) write(w io.Writer) {
	s := r.Scenario
	fmt.Fprintf(w, "# Load on %s\n\n", strings.Join(s.URLs, ", "))
	fmt.Fprintf(w, "- %s, from %s\n- %s\n", r.Date.Format(time.RFC3339), r.Machine, s.describe())
	if r.Interrupted {
		fmt.Fprintln(w, "- **It was interrupted: this is the report until then.**")
	}
	fmt.Fprintln(w)
	connects := page.Table{{"", "sockets", "failed", "a second", "p50 ms", "p99 ms", "max ms"}}
	connects = append(connects, connectsRow("connects", r.Connects))
	if r.Joins != nil {
		connects = append(connects, connectsRow("joins", *r.Joins))
	}
	connects.Write(w)
	if run := r.Run; run != nil && s.Traffic != nil {
		sec := max(run.Elapsed.Seconds(), 1e-9)
		page.Table{
			{"sends", "deliveries", "seconds", "sends/s", "deliveries/s"},
			{count(run.Publishes), count(run.Deliveries), fmt.Sprintf("%.1f", sec),
				result.Number(math.Round(float64(run.Publishes) / sec)),
				result.Number(math.Round(float64(run.Deliveries) / sec))},
		}.Write(w)
		page.Table{
			{"latency, ms", "p50", "p90", "p99", "p99.9", "max"},
			{latencyOf(*s.Traffic), ms(run.P50), ms(run.P90), ms(run.P99), ms(run.P999), ms(run.Max)},
		}.Write(w)
		page.Table{
			{"missing", "doubled", "out of order", "malformed", "sockets lost"},
			{count(r.Faults.Missing), count(r.Faults.Doubled), count(r.Faults.Reordered),
				count(r.Faults.Malformed), count(run.Lost)},
		}.Write(w)
	}
	for _, note := range r.notes() {
		fmt.Fprintln(w, "- "+note)
	}
}

func connectsRow(name string, c crowd.Connects) []string {
	rate := float64(c.Sockets) / max(c.Elapsed.Seconds(), 1e-9)
	return []string{name, count(c.Sockets), count(c.Failures), result.Number(math.Round(rate)),
		ms(c.P50), ms(c.P99), ms(c.Max)}
}

// count and ms are a number and a duration as cells have them.
func count(n int) string { return result.Number(float64(n)) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", milliseconds(d)) }

// describe is a scenario in a sentence.
func (s *scenario) describe() string {
	text := fmt.Sprintf("%d sockets over %s", s.Sockets, cmp.Or(s.Transport, crowd.WebSocket))
	if s.Namespace != "" {
		text += ", namespace " + s.Namespace
	}
	if s.Join != nil {
		text += fmt.Sprintf(", %d rooms", max(s.Join.Rooms, 1))
	}
	t := s.Traffic
	if t == nil {
		return fmt.Sprintf("%s, which stay for %v", text, time.Duration(s.Duration))
	}
	how := fmt.Sprintf("%d in flight", t.InFlight)
	if t.Rate > 0 {
		how = fmt.Sprintf("%g a second", t.Rate)
	}
	return fmt.Sprintf("%s; %s: %s, payloads of %d bytes, for %v", text, t.Kind, how,
		cmp.Or(t.Size, 128), time.Duration(s.Duration))
}

// latencyOf says what the latency is that was measured.
func latencyOf(t traffic) string {
	from := "it was written"
	if t.Rate > 0 {
		from = "it was due"
	}
	if t.Kind == crowd.Echo {
		return "of an acknowledgement, since " + from
	}
	return "of each delivery, since " + from
}

// notes are what one has to know of the figures.
func (r *urlReport) notes() []string {
	var notes []string
	failed := func(what string, c crowd.Connects) {
		if c.Failures > 0 {
			notes = append(notes, fmt.Sprintf("%d %s failed: %s", c.Failures, what, advise(c.Why)))
		}
	}
	failed("connects", r.Connects)
	if r.Joins != nil {
		failed("joins", *r.Joins)
	}
	run := r.Run
	if run == nil {
		return notes
	}
	if run.Stalled {
		notes = append(notes, "nothing came any more, and the rest was not sent. Does the server answer, "+
			"and send the payload on to so many sockets?")
	}
	if len(run.Why) > 0 {
		notes = append(notes, "connections lost, or events refused: "+list(run.Why))
	}
	if run.Publishes > 0 && run.Deliveries == 0 {
		notes = append(notes, "nothing was received. Does the server send the payload on, unchanged?")
	}
	switch {
	case run.Late*100 > run.Publishes:
		notes = append(notes, fmt.Sprintf("%d sends were more than 10 ms late: this machine was the limit, "+
			"and not the server alone", run.Late))
	case run.Busy > 0.9:
		notes = append(notes, "the load was busy nearly all the time: this machine may have set the rate. "+
			"Use another one, or less")
	}
	return notes
}

// list is reasons, the most frequent ones first.
func list(why map[string]int) string {
	var all []string
	for _, reason := range slices.SortedFunc(maps.Keys(why), func(a, b string) int {
		return cmp.Or(cmp.Compare(why[b], why[a]), cmp.Compare(a, b))
	}) {
		all = append(all, fmt.Sprintf("%s (%d)", reason, why[reason]))
	}
	return strings.Join(all, "; ")
}

// hints are what to do about reasons, which contain a text.
var hints = []struct{ text, hint string }{
	{"connection refused", "nothing listens there: start the server, or correct -url"},
	{"no such host", "correct the host in -url"},
	{"404", "the server has no Socket.IO there: if its path is not /socket.io/, put it into -url, " +
		"such as http://host/path/"},
	{"without an answer to the handshake", "is there a Socket.IO server, and is its path /socket.io/? " +
		"Another path goes into -url, such as http://host/path/"},
	{"older protocol", "bench speaks the protocol of Socket.IO 3 and later: upgrade the server"},
	{"no Socket.IO server", "another server listens there: correct the host, the port or the path in -url"},
	{"no answer of HTTP", "another server listens there, or one with TLS: correct -url, or say https"},
	{"Client sent an HTTP request to an HTTPS server", "say https in -url"},
	{"first record does not look like a TLS handshake", "the server has no TLS: say http in -url"},
	{"certificate", "-insecure does not check it"},
	{"Invalid namespace", "the server has no such namespace: correct -namespace"},
	{"Transport unknown", "the server does not offer this transport: try -transport polling, or websocket"},
	{"too many open files", "raise the limit (ulimit -n), or use fewer sockets"},
	{"401", "the server wants to know who it is: -auth, or -header"},
	{"403", "the server refuses: -auth, or -header (such as Origin)"},
	{"502", "the proxy does not reach the server"},
	{"503", "the server takes no more: fewer sockets, or a lower -connects"},
	{"no answer in", "the server is overloaded, or waits for something: fewer sockets, a lower -connects, " +
		"or for joins the right event in \"join\""},
	{"refused: 200", "there is no WebSocket there: correct the path in -url, or try -transport polling"},
	{"refused: ", "the server said so: -auth, -namespace and -header are what it knows of a client"},
}

// advise is why something has failed, and what to do about the most frequent reason that is known.
func advise(why map[string]int) string {
	text := list(why)
	for _, h := range hints {
		if strings.Contains(text, h.text) {
			return text + ". To do: " + h.hint
		}
	}
	return text
}

// err is what is wrong with what was measured.
func (r *urlReport) err() error {
	var errs []error
	if n := r.Connects.Failures; n > 0 {
		errs = append(errs, fmt.Errorf("%d sockets have not connected", n))
	}
	if r.Joins != nil && r.Joins.Failures > 0 {
		errs = append(errs, fmt.Errorf("%d sockets have not joined", r.Joins.Failures))
	}
	if run := r.Run; run != nil {
		if run.Lost > 0 {
			errs = append(errs, fmt.Errorf("%d sockets were lost", run.Lost))
		}
		if run.Stalled {
			errs = append(errs, errors.New("given up: nothing came any more"))
		}
	}
	if n := r.Faults.Sum(); n > 0 {
		errs = append(errs, fmt.Errorf("%d wrong deliveries", n))
	}
	return errors.Join(errs...)
}
