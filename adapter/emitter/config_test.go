package emitter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
)

// TestWrongConfig: what cannot be meant is the error of everything that the emitter is asked for, and never a default.
func TestWrongConfig(t *testing.T) {
	for want, cfg := range map[string]emitter.Config{
		"AckTimeout":  {AckTimeout: -1},
		"NodeName":    {NodeName: "two\nlines"},
		"QueueBytes":  {QueueBytes: -1},
		"RepairBytes": {RepairBytes: -1},
		"Attachments": {Limits: packet.Limits{Attachments: -1}},
		"Depth":       {Limits: packet.Limits{Depth: 10_001}},
	} {
		for _, without := range []bool{false, true} {
			if cfg.Adapter = nil; !without {
				cfg.Adapter = new(adapter.Memory)
			}
			e := emitter.New(cfg)
			_, counted := e.All().Count(t.Context())
			for what, err := range map[string]error{
				"Ready": e.Ready(t.Context()), "Emit": e.Emit(t.Context(), "x"), "Count": counted,
				"ServerSideEmit": e.Of("/x").ServerSideEmit(t.Context(), "x"),
			} {
				if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, emitter.ErrNoAdapter) != without {
					t.Errorf("%s: got %v, want %s named", what, err, want)
				}
			}
			kit.OK(t, e.Close(t.Context()))
		}
	}
}

// TestLimits: an emitter sends as much in a packet as its configuration says.
func TestLimits(t *testing.T) {
	args := make([]any, 11)
	for i := range args {
		args[i] = []byte{byte(i)}
	}
	for n, want := range map[int]error{0: packet.ErrAttachments, 11: nil} {
		e := emitter.New(emitter.Config{Adapter: new(adapter.Memory), Limits: packet.Limits{Attachments: n}})
		kit.ErrorIs(t, e.Emit(t.Context(), "x", args...), want, "11 attachments, where", n, "are allowed")
		kit.OK(t, e.Close(t.Context()))
	}
}
