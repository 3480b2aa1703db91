package tracing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/tracing"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestOneTrace: what a client says, its handler, what that emits, and the deliveries on both nodes
// are one trace. A handler that fails or panics is a span that fails; what nothing handles is none.
func TestOneTrace(t *testing.T) {
	t.Run("Memory", func(t *testing.T) { testOneTrace(t, new(adapter.Memory)) })
	t.Run("NATS", func(t *testing.T) {
		testOneTrace(t, natsadapter.New(natsadapter.Config{URL: natstest.Start(t, embedded.Config{}).URL()}))
	})
}

func testOneTrace(t *testing.T, a adapter.Adapter) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	var srvs []*wsserver.Server
	for range 2 {
		srv := wsserver.New(wsserver.Config{Adapter: a, Logger: kit.Silent,
			Tracer: tracing.New(tracing.Config{TracerProvider: provider})})
		t.Cleanup(func() { kit.Close(t, srv) })
		root := srv.Of("/")
		root.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "lobby") })
		wsserver.On(root, "say", func(ctx context.Context, s *wsserver.Socket, text string) error {
			return srv.Emit(ctx, "said", text) // to all, who are live once they know that they are connected
		})
		root.On("fail", func(context.Context, *wsserver.Event) error { return errors.New("no luck") })
		root.On("panic", func(context.Context, *wsserver.Event) error { panic("bad luck") })
		kit.OK(t, srv.Ready(t.Context()))
		srvs = append(srvs, srv)
	}
	c, d := wstest.Dial(t, srvs[0], wstest.Config{}), wstest.Dial(t, srvs[1], wstest.Config{})
	c.Emit("nobody-handles-this")
	c.Emit("say", "hi")
	d.Next("said")
	d.Emit("fail")
	d.Emit("panic")
	<-d.Disconnected()
	find := func(name, node string) (span tracetest.SpanStub) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			spans := exporter.GetSpans()
			i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool {
				return s.Name == name && slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool {
					return a.Key == "belfry.node" && a.Value.AsString() == node
				})
			})
			if i >= 0 {
				return spans[i]
			}
			if time.Now().After(end) {
				t.Fatalf("no span %q of node %s", name, node)
			}
		}
	}
	here, there := srvs[0].Node(), srvs[1].Node()
	received, emitted := find("receive say", here), find("emit said", here)
	if emitted.Parent.SpanID() != received.SpanContext.SpanID() {
		t.Errorf("the emit's parent is %s, not the handler's span", emitted.Parent.SpanID())
	}
	for _, node := range []string{here, there} {
		s := find("deliver said", node)
		if s.Parent.SpanID() != emitted.SpanContext.SpanID() || s.SpanContext.TraceID() != received.SpanContext.TraceID() {
			t.Errorf("delivery on %s: parent %s in trace %s", node, s.Parent.SpanID(), s.SpanContext.TraceID())
		}
	}
	for event, want := range map[string]string{"fail": "no luck", "panic": "wsserver: panic: bad luck"} {
		if got := find("receive "+event, there).Status.Description; got != want {
			t.Errorf("%s: the status is %q, want %q", event, got, want)
		}
	}
	for _, s := range exporter.GetSpans() {
		if strings.Contains(s.Name, "nobody") {
			t.Errorf("an event that nothing handles has a span %q", s.Name)
		}
	}
}
