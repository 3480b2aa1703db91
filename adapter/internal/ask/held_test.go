package ask

import (
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// Notes and the end that come while a note is being told wait for their turn.
func TestNotesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(*node) map[envelope.Kind]func(*envelope.Broadcast) { return nil }
		p := newParty(t.Context(), none, "a", "b")
		b := p.nodes["b"]
		say := func(kind envelope.Kind, text string) {
			b.Receive(&envelope.Broadcast{From: "a", Body: envelope.Body{
				Payload: []byte(text), Request: envelope.Request{Kind: kind, ID: 7},
			}})
		}
		var told []string
		c := new(Held)
		call := &envelope.Broadcast{From: "a", Body: envelope.Body{Request: envelope.Request{ID: 7}}}
		b.Hold(call, c, func() {
			say(envelope.KindNote, "1")
			c.OnEnd(func() { told = append(told, "end") })
			c.OnNote(func(note []byte) {
				told = append(told, "begin "+string(note))
				if string(note) == "1" {
					say(envelope.KindNote, "2")
					say(envelope.KindCancel, "")
					say(envelope.KindNote, "behind the end")
				}
				told = append(told, "end "+string(note))
			})
		})
		synctest.Wait()
		kit.EqualSlices(t, told, []string{"begin 1", "end 1", "begin 2", "end 2", "end"})
		kit.Equal(t, b.State(), (State{}), "it is left with")
	})
}
