package wstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What a failure tells of what has come, at the most.
const (
	historyLength = 10  // events, the newest, and answers
	historyBytes  = 200 // of each event
)

var errDismissed = errors.New("the server has disconnected the client from its namespace")

// await waits until ready, which is called under the lock, returns true. It fails the test if that
// does not happen in time, or can happen no more.
func (c *Client) await(what string, ready func() bool) {
	c.t.Helper()
	ok := false
	err := c.current().Await(func() bool {
		ok = ready()
		return ok || c.state == dismissed
	})
	if err == nil && !ok {
		err = errDismissed
	}
	if err != nil {
		c.t.Fatalf("wstest: waiting for %s: %v%s", what, err, c.history())
	}
}

// history is what has come and was not taken, and what has not come, for a failure.
func (c *Client) history() (text string) {
	c.lock.Update(func() {
		var events, questions []string
		for _, e := range c.events {
			events = append(events, shortened(e.String()))
		}
		for _, q := range c.acks {
			if q.answer == nil {
				questions = append(questions, q.event)
			}
		}
		slices.Sort(questions)
		if len(events) == 0 {
			text = "; no event has come that was not taken"
		} else {
			text = "; events that came and were not taken, the newest last: " + newest(events)
		}
		if len(questions) > 0 {
			text += "; the server has not answered " + newest(questions)
		}
	})
	return text
}

func newest(all []string) string {
	older := max(0, len(all)-historyLength)
	text := strings.Join(all[older:], ", ")
	if older > 0 {
		text = fmt.Sprintf("(%d more), ", older) + text
	}
	return text
}

func shortened(text string) string {
	if len(text) <= historyBytes {
		return text
	}
	return strings.ToValidUTF8(text[:historyBytes], "") + fmt.Sprintf("... (%d bytes)", len(text))
}
