package ask

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// A node that is met when others have been asked is not missed. But if it has begun to answer, its part is to be whole, or said not to be.
func TestLateNodeThatHasBegun(t *testing.T) {
	for _, c := range []struct {
		name    string
		alive   bool // while it begins
		end     func(x *node, answer func(from string, a envelope.AnswerHeader))
		missing bool
	}{
		{"and ends", true, func(_ *node, answer func(string, envelope.AnswerHeader)) {
			answer("new", envelope.AnswerHeader{Page: 1})
		}, false},
		{"and fails", true, func(_ *node, answer func(string, envelope.AnswerHeader)) {
			answer("new", envelope.AnswerHeader{Page: 1, Status: envelope.Failed})
		}, true},
		{"and has gone", true, func(x *node, _ func(string, envelope.AnswerHeader)) {
			x.SetAlive(nil, nil)
		}, true},
		{"and is silent", false, nil, true},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			x := newParty(t.Context(), naming, "self", "new", "new2").nodes["self"]
			call := x.New(func(Page) error { return nil })
			answer := func(from string, a envelope.AnswerHeader) {
				x.calls.receive(&envelope.Broadcast{From: from, Body: *answerBody(asker{x.cfg.Node, call.id}, a, nil)}, c.alive)
			}
			x.add(call, []string{"known"})
			answer("new", envelope.AnswerHeader{More: true})
			answer("newer", envelope.AnswerHeader{Status: envelope.Busy})
			answer("known", envelope.AnswerHeader{})
			ended := make(chan struct{})
			go func() {
				x.Wait(t.Context(), call, nil)
				close(ended)
			}()
			synctest.Wait()
			if c.alive {
				select {
				case <-ended:
					t.Fatal("the call has ended with a part of the node's answer")
				default:
				}
				c.end(x, answer)
			}
			<-ended // without that a clock has moved
			if missing := call.Missing(); c.missing != (len(missing) == 1 && missing[0].Node == "new") || len(missing) > 1 {
				t.Errorf("missing: %v, want the node among them: %v", missing, c.missing)
			}
			kit.Equal(t, x.State(), (State{}), "it is left with")
		})
	}
}

// Answers that nobody waits for, that come again or too late, are ignored; what is missing in front of one, or makes no sense, fails its node.
func TestOddAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newParty(t.Context(), naming, "self", "new", "new2").nodes["self"]
		var got []string
		var c *Call
		answer := func(from string, id uint64, a envelope.AnswerHeader, content string) {
			b := &envelope.Broadcast{From: from, Body: *answerBody(asker{x.cfg.Node, id}, a, []byte(content))}
			x.Receive(b)
		}
		c = x.New(func(p Page) error {
			if string(p.Content) == "nonsense" {
				return envelope.ErrMalformed
			}
			got = append(got, fmt.Sprint(p.From, " ", string(p.Content), " ", p.Last))
			return nil
		})
		x.add(c, []string{"a", "b", "c", "d", "e"})
		answer("a", c.id, envelope.AnswerHeader{More: true}, "1")
		answer("a", c.id, envelope.AnswerHeader{More: true}, "1 again")
		answer("a", c.id+1, envelope.AnswerHeader{Page: 1}, "another call's")
		answer("a", c.id, envelope.AnswerHeader{Page: 1}, "2")
		answer("a", c.id, envelope.AnswerHeader{Page: 2}, "3 after the end")
		answer("b", c.id, envelope.AnswerHeader{Page: 1}, "2 without 1")
		answer("b", c.id, envelope.AnswerHeader{}, "1 after it failed")
		answer("c", c.id, envelope.AnswerHeader{}, "nonsense")
		answer("d", c.id, envelope.AnswerHeader{Status: 99, Text: "a status of the future"}, "")
		answer("new", c.id, envelope.AnswerHeader{}, "met later")
		answer("newer", c.id, envelope.AnswerHeader{Status: envelope.Busy}, "met later, and not missed")
		x.Receive(&envelope.Broadcast{From: "e", Body: envelope.Body{Route: envelope.ByNode, Request: envelope.Request{
			Kind: envelope.KindAnswer, ID: c.id, To: x.cfg.Node, Arg: []byte{0xff}}}})
		elsewhere := answerBody(asker{"elsewhere", c.id}, envelope.AnswerHeader{}, []byte("for another"))
		x.Receive(&envelope.Broadcast{From: "new2", Body: *elsewhere})
		select {
		case <-c.done:
		default:
			t.Errorf("the call goes on: %d are waited for", c.left)
		}
		x.Wait(t.Context(), c, nil)
		answer("a", c.id, envelope.AnswerHeader{}, "after the call")
		kit.EqualSlices(t, got, []string{"a 1 false", "a 2 true", "new met later true"})
		if got, want := fmt.Sprint(c.Missing()), fmt.Sprint([]Missing{
			{"b", errLost}, {"c", envelope.ErrMalformed}, {"d", errors.New("a status of the future")}, {"e", envelope.ErrMalformed},
		}); got != want {
			t.Errorf("missing: %s, want %s", got, want)
		}
		kit.Equal(t, x.State(), (State{}), "it is left with")
	})
}
