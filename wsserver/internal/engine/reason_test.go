package engine

import (
	"fmt"
	"io"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// TestReasons: each error is of its sort, however often it was wrapped, and what a receiver has said comes back as it was.
func TestReasons(t *testing.T) {
	tested := make(map[Reason]bool)
	for _, test := range []struct {
		err  error
		want Reason
	}{
		{ownerError{errTest}, ReasonOwner},
		{ownerError{fmt.Errorf("the owner's: %w", engineio.ErrParse)}, ReasonOwner},
		{transport.ErrPeerClosed, ReasonClient},
		{engineio.ErrParse, ReasonParse},
		{engineio.ErrDirection, ReasonTransport},
		{engineio.ErrPingTimeout, ReasonPingTimeout},
		{errNotAccepted, ReasonNotAccepted},
		{errIncomplete, ReasonIncomplete},
		{outbox.ErrTooSlow, ReasonTooSlow},
		{outbox.ErrBehind, ReasonBehind},
		{errTooFast, ReasonTooFast},
		{errOverBudget, ReasonOverBudget},
		{errAborted, ReasonTransport},
		{transport.ErrOverlap, ReasonTransport},
		{transport.ErrAborted, ReasonTransport},
		{io.ErrUnexpectedEOF, ReasonTransport},
	} {
		want := test.err
		if own, ok := want.(ownerError); ok {
			want = own.error
		}
		wrapped := fmt.Errorf("wrapped: %w", test.err)
		if why, err := reasonOf(test.err); why != test.want || err != want {
			t.Errorf("%v: got %d, %v, want %d", test.err, why, err, test.want)
		}
		if why, _ := reasonOf(wrapped); why != test.want {
			t.Errorf("%v: got %d, want %d", wrapped, why, test.want)
		}
		tested[test.want] = true
	}
	kit.Check(t, len(tested) == int(NumReasons), "%d of %d reasons were tested", len(tested), NumReasons)
}
