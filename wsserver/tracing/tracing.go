// Package tracing makes OpenTelemetry traces of a server: an event from a client, its handlers, what
// they emit, and the deliveries on all nodes are one trace.
//
//	srv := wsserver.New(wsserver.Config{Tracer: tracing.New(tracing.Config{TracerProvider: provider})})
//
// Spans are "receive said" and "connect" for handlers, "emit said", "fetch sockets" and the like for
// what a program sends and asks, and "deliver said" for each node with sockets that a broadcast
// reaches. A span fails with the error that Config.OnError is told. Events that nothing handles make
// no span; those that only OnAny handles are "receive", since their names are the clients'. A
// broadcast that is not sampled takes nothing along and makes no deliveries.
//
// Nodes need no common version: one that knows no traces ignores them. The package imports the API
// of OpenTelemetry alone; the program brings the SDK and its exporter.
package tracing

import (
	"context"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver"
)

// A Config says where traces go. Its zero value works.
type Config struct {
	TracerProvider trace.TracerProvider          // nil means otel's global one
	Propagator     propagation.TextMapPropagator // what nodes pass on; nil means propagation.TraceContext
}

type tracer struct {
	spans      trace.Tracer
	propagator propagation.TextMapPropagator
}

// New returns a Tracer for wsserver.Config and emitter.Config.
func New(cfg Config) wsserver.Tracer {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.TraceContext{}
	}
	return &tracer{
		cfg.TracerProvider.Tracer("github.com/belfry-io/belfry", trace.WithInstrumentationVersion(wsserver.Version())),
		cfg.Propagator,
	}
}

// The attributes: those of messaging where OpenTelemetry's conventions have one.
const (
	system    = attribute.Key("messaging.system")
	operation = attribute.Key("messaging.operation.name")
	namespace = attribute.Key("belfry.namespace")
	node      = attribute.Key("belfry.node")
	from      = attribute.Key("belfry.from")
	event     = attribute.Key("belfry.event")
	rooms     = attribute.Key("belfry.rooms")
	socket    = attribute.Key("belfry.socket")
	delivered = attribute.Key("belfry.sockets")
)

func (t *tracer) start(
	ctx context.Context, kind trace.SpanKind, op, name string, more []attribute.KeyValue, opts ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	title := op
	if more = append(more, system.String("belfry"), operation.String(op)); name != "" {
		title, more = op+" "+name, append(more, event.String(name))
	}
	return t.spans.Start(ctx, title, append(opts, trace.WithSpanKind(kind), trace.WithAttributes(more...))...)
}

func end(span trace.Span, err error, at ...trace.SpanEndOption) {
	if err != nil {
		span.RecordError(err)
		text, _, _ := strings.Cut(err.Error(), "\n") // a panic's stack is no description
		span.SetStatus(codes.Error, text)
	}
	span.End(at...)
}

func (t *tracer) Handle(ctx context.Context, h wsserver.Handling) (context.Context, func(error)) {
	kind, more := trace.SpanKindServer, []attribute.KeyValue{namespace.String(h.Namespace), node.String(h.Node)}
	if h.Socket != "" {
		more = append(more, socket.String(h.Socket))
	}
	if h.From != "" {
		kind, more = trace.SpanKindConsumer, append(more, from.String(h.From))
		ctx = t.extract(ctx, h.Trace)
	}
	ctx, span := t.start(ctx, kind, h.Op, h.Event, more)
	return ctx, func(err error) { end(span, err) }
}

func (t *tracer) Send(ctx context.Context, s sockets.Sending) (context.Context, []byte, func(error)) {
	kind := trace.SpanKindProducer
	if s.Waits {
		kind = trace.SpanKindClient
	}
	ctx, span := t.start(ctx, kind, s.Op, s.Event, []attribute.KeyValue{
		namespace.String(s.Namespace), node.String(s.Node), rooms.Int(s.Rooms),
	})
	var carried []byte
	if span.SpanContext().IsSampled() || s.Op == "server-side emit" { // whose handlers have spans in any case
		carried = t.inject(ctx)
	}
	return ctx, carried, func(err error) { end(span, err) }
}

func (t *tracer) Deliver(d wsserver.Delivery) {
	ctx := t.extract(context.Background(), d.Trace)
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	_, span := t.start(ctx, trace.SpanKindConsumer, "deliver", d.Event(), []attribute.KeyValue{
		namespace.String(d.Namespace), node.String(d.Node), from.String(d.From), rooms.Int(d.Rooms),
		delivered.Int(d.Sockets),
	}, trace.WithTimestamp(d.Begun))
	end(span, d.Err)
}

// inject returns what nodes are given of ctx: lines of a name and a value, the trace's first. Those
// that have no room are left out.
func (t *tracer) inject(ctx context.Context) (b []byte) {
	fields := propagation.MapCarrier{}
	t.propagator.Inject(ctx, fields)
	for _, first := range []bool{true, false} {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			line := name + ":" + fields[name] + "\n"
			if (name == "traceparent") == first && len(b)+len(line) <= cluster.MaxTrace {
				b = append(b, line...)
			}
		}
	}
	return b
}

// extract is the reverse of inject. What makes no sense is ignored.
func (t *tracer) extract(ctx context.Context, b []byte) context.Context {
	if len(b) == 0 {
		return ctx
	}
	fields := propagation.MapCarrier{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); ok {
			fields[name] = value
		}
	}
	return t.propagator.Extract(ctx, fields)
}
