package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Kinds of requests behind a balancer: to the node of their session, or to another.
const (
	direct = iota
	stray
)

// Polls are the requests of clients that poll behind a balancer.
type polls struct {
	mu        sync.Mutex   // guards what follows
	answers   [2]durations // from an event that a poll waited for to the poll's answer
	posts     [2]durations
	ownerless durations // that requests waited for an owner that was dead
	unknown   []string  // sessions that a node did not know, though their owner was alive
}

// kind is the kind of a request of a session.
func (p *polling) kind(answered string) int {
	if answered == p.node {
		return direct
	}
	return stray
}

// begin forgets what was before.
func (p *polls) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers, p.posts = [2]durations{}, [2]durations{}
}

// delivers notes how long the last poll took to answer with an event of the session's own, if it was waiting for it.
func (p *polling) delivers(event []string, now time.Duration) {
	if len(event) < 4 || event[0] != `"p"` || event[1] != strconv.Itoa(own) {
		return
	}
	emitted, err := strconv.Atoi(event[3])
	if at := time.Duration(emitted); err == nil && at > p.asked {
		p.crowd.tally.polls.answered(p.kind(p.by), now-at)
	}
}

func (p *polls) answered(kind int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[kind].add(took)
}

func (p *polls) posted(kind int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posts[kind].add(took)
}

// waited notes how long a request waited for an owner that was dead.
func (p *polls) waited(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ownerless.add(took)
}

// forgotten notes that a node does not know a session whose owner is alive.
func (p *polls) forgotten(sid string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unknown = append(p.unknown, fmt.Sprintf("%s: %v", sid, err))
}

// What requests may take.
const (
	slower      = 2 // times that a stray poll's answer takes as long as a direct one's, and
	slowerBy    = time.Millisecond
	forTheDead  = 2 * time.Second
	whenBusy    = 5 * time.Second // instead, if the machine is
	leastAnswer = 10              // polls of a kind
)

func (p *polls) tell(say func(string, ...any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.posts[stray].count == 0 {
		return // there is no balancer
	}
	for kind, name := range []string{"direct", "stray"} {
		say("%d %s polls that waited for an event, from there to the answer: %v; %d %s POSTs: %v",
			p.answers[kind].count, name, &p.answers[kind], p.posts[kind].count, name, &p.posts[kind])
	}
	if p.ownerless.count > 0 {
		say("%d requests were for sessions of a node that was dead, and waited for it: %v",
			p.ownerless.count, &p.ownerless)
	}
}

// judge says what is wrong.
func (p *polls) judge(cfg config, wrong func(format string, args ...any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cfg.words > 0 && cfg.polling > 0 && min(p.answers[direct].count, p.answers[stray].count) < leastAnswer {
		wrong("%d direct and %d stray polls waited for an event: too few", p.answers[direct].count, p.answers[stray].count)
	}
	near, far := p.answers[direct].quantile(0.99), p.answers[stray].quantile(0.99)
	if cfg.strict && far > slower*near+slowerBy {
		wrong("p99 of the answers to stray polls is %v, and of direct ones %v", far, near)
	}
	most := whenBusy
	if cfg.strict {
		most = forTheDead
	}
	if p.ownerless.max > most {
		wrong("a request waited %v for a node that was dead, want %v at the most", p.ownerless.max, most)
	}
	for _, u := range p.unknown[:min(10, len(p.unknown))] {
		wrong("the owner of a session is alive, and the session unknown: %s", u)
	}
}
