package cluster

import (
	"log/slog"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// How many lines about other nodes go into the log: a burst, such as a partition brings, and one in
// so much time after that.
const (
	newsBurst = 64
	newsEvery = time.Second
)

// news is what the mesh has said of the other nodes, until the ticker logs it: nobody waits for a
// logger.
type news struct {
	mu      sync.Mutex // guards what follows
	lines   []mesh.Transition
	budget  int       // lines that may be added at once; below zero: none was used yet
	refill  time.Time // when the budget was looked at last
	skipped int       // lines since the last one
}

// add takes a line, unless there are too many.
func (n *news) add(s mesh.Transition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.refill.IsZero() {
		n.budget, n.refill = newsBurst, now
	}
	if more := now.Sub(n.refill) / newsEvery; more > 0 {
		n.budget = int(min(newsBurst, time.Duration(n.budget)+more))
		n.refill = n.refill.Add(more * newsEvery)
	}
	if n.budget == 0 {
		n.skipped++
		return
	}
	n.budget--
	n.lines = append(n.lines, s)
}

// log logs what has been added. Emitters come and go, and concern few: they are for Debug.
func (n *news) log(log *slog.Logger) {
	n.mu.Lock()
	lines, skipped := n.lines, n.skipped
	n.lines = nil
	if len(lines) > 0 {
		n.skipped = 0
	}
	n.mu.Unlock()
	for _, s := range lines {
		attrs := other(s.Node, s.Name)
		if skipped > 0 {
			attrs = append(attrs, "skipped", skipped)
			skipped = 0
		}
		line, say := "", log.Info
		switch s.Is {
		case mesh.StandingAlive:
			line = "belfry: a node was met"
			if s.Was != mesh.StandingUnmet {
				line = "belfry: a node is back"
				attrs = append(attrs, "after", s.For.Round(time.Millisecond))
			}
		case mesh.StandingSuspect:
			line, say = "belfry: a node is suspect: nobody waits for it until it answers", log.Warn
			reason := "it does not answer"
			if s.Silent >= mesh.SuspectAfter {
				reason = "it is silent"
			}
			attrs = append(attrs, "reason", reason, "silent", s.Silent.Round(time.Millisecond))
		case mesh.StandingDead:
			line, say = "belfry: a node is gone: it was given up", log.Warn
			attrs = append(attrs, "reason", "it was silent for too long", "silent", s.Silent.Round(time.Millisecond))
		case mesh.StandingLeft:
			line = "belfry: a node has left"
		default:
			continue
		}
		if s.Client {
			say = log.Debug
			attrs = append(attrs, "emitter", true)
		}
		say(line, attrs...)
	}
}

// A linkWatch logs what becomes of the link. It is used by one goroutine.
type linkWatch struct {
	log *slog.Logger

	last  adapter.State
	since time.Time // Connected: of nothing; else when it ceased to be
	told  time.Time // when a changed reason was logged last
}

// saw takes a state of the link.
func (w *linkWatch) saw(s adapter.State) {
	now := time.Now()
	was := w.last
	w.last = s
	switch {
	case s.Status == adapter.Connected && was.Status == adapter.Degraded && was.Connections > 0:
		w.log.Info("belfry: adapter recovered", "after", now.Sub(w.since).Round(time.Millisecond))
	case s.Status == adapter.Connected && was.Status == adapter.Connected && s.Connections != was.Connections:
		w.log.Info("belfry: adapter recovered before anybody saw it degraded")
	case s.Status == adapter.Connected && was.Status != adapter.Connected:
		w.log.Info("belfry: adapter connected")
	case s.Status == adapter.Degraded && was.Status != adapter.Degraded:
		w.since, w.told = now, now
		w.log.Warn("belfry: adapter degraded", "error", s.Reason)
		return
	case s.Status == adapter.Degraded && now.Sub(w.told) >= newsEvery:
		w.told = now
		w.log.Warn("belfry: adapter still degraded", "error", s.Reason, "for", now.Sub(w.since).Round(time.Millisecond))
		return
	}
	if s.Status != adapter.Connected || reasonText(s.Reason) == reasonText(was.Reason) {
		return
	}
	if s.Reason != nil && now.Sub(w.told) >= newsEvery {
		w.told = now
		w.log.Warn("belfry: adapter connected, but something is refused", "error", s.Reason)
	} else if s.Reason == nil && was.Status == adapter.Connected {
		w.log.Info("belfry: adapter is refused nothing any more")
	}
}

func reasonText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
