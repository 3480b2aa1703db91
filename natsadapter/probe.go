package natsadapter

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// A probe is an empty message to a node's subject, with a subject of the asking node for the reply,
// and what is to be handed back in that. Whoever receives it leaves it aside. Where nobody does,
// the server answers at once, with status 503 and no other content ("no responders").

const (
	maxBack      = 64    // bytes
	noResponders = "503" // https://docs.nats.io/nats-concepts/core-nats/reqreply#no-responders
)

// Probe implements [adapter.Prober].
func (l *link) Probe(ctx context.Context, topic adapter.Topic, back []byte) error {
	if err := l.probe(ctx, topic, back); err != nil {
		return wrap("probe "+topic.String(), err)
	}
	return nil
}

func (l *link) probe(ctx context.Context, topic adapter.Topic, back []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if topic.Kind != adapter.Node || len(back) == 0 || len(back) > maxBack {
		return errors.New("not a node's topic, or nothing or too much to be handed back")
	}
	subject, err := l.naming.publish(topic)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asker == "" && !l.closed {
		return errors.New("the link is subscribed to no node's topic")
	}
	return l.send(subject, l.naming.answers(l.asker)+base64.RawURLEncoding.EncodeToString(back), nil)
}

// answers returns what the subjects begin with by which the server answers the probes of a node.
func (n naming) answers(node string) string {
	return string(appendToken([]byte(n.root+"n."), node)) + ".q."
}

// takeProbe reports whether m, which is empty, is a probe or the answer to one. What is to be
// handed back is given to recv.
func (l *link) takeProbe(m *nats.Msg) bool {
	node, ok := strings.CutPrefix(m.Subject, l.naming.root+"n.")
	if !ok {
		return false
	}
	_, text, answer := strings.Cut(node, ".q.")
	if !answer {
		return m.Reply != ""
	}
	if back, err := base64.RawURLEncoding.DecodeString(text); err == nil && m.Header.Get("Status") == noResponders {
		l.recv(back)
	}
	return true
}
