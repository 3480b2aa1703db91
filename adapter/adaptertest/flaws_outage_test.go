package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter"
)

// outageFlaws are drivers that break a rule of outages, or of Limiter.
var outageFlaws = []flaw{
	{"StaysConnectedWithoutBroker", []string{"OutageState"}, "want degraded", true,
		saying(func(state *adapter.State) { state.Status, state.Reason = adapter.Connected, nil })},
	{"ChannelStaysOpenInAnOutage", []string{"OutageState", "OutageAgain"}, "is still open", true, withLinks(func(l *link) {
		never := make(chan struct{})
		l.state = func() (adapter.State, <-chan struct{}) {
			state, _ := l.Link.State()
			return state, never
		}
	})},
	{"ChannelStaysOpenAfterAnOutage", []string{"OutageState"}, "after its broker has come back", true, withLinks(func(l *link) {
		never := make(chan struct{})
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if state.Status == adapter.Degraded {
				changed = never
			}
			return state, changed
		}
	})},
	{"ProbesNobodyInAnOutage", []string{"OutageProbe"}, "while the broker is away", false,
		probing(func(ctx context.Context, l *link, topic adapter.Topic, back []byte) error {
			if l.degraded() {
				return nil
			}
			return l.Link.(adapter.Prober).Probe(ctx, topic, back)
		})},
	{"DegradedForNoReason", []string{"OutageState"}, "without a reason", false,
		saying(func(state *adapter.State) { state.Reason = nil })},
	{"ConnectedBeforeTheBrokerIsBack", []string{"OutageState"}, "while its broker is away", false, withLinks(func(l *link) {
		var tried atomic.Bool
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			tried.Store(l.degraded())
			return l.Link.Publish(ctx, topic, msg)
		}
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if tried.Load() {
				state.Status, state.Reason = adapter.Connected, nil
			}
			return state, changed
		}
	})},
	{"KeepsTheReason", []string{"OutageState"}, "without a reason", false, withLinks(func(l *link) {
		var last error
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if state.Reason != nil {
				last = state.Reason
			}
			state.Reason = last
			return state, changed
		}
	})},
	{"CountsLosses", []string{"OutageState"}, "it has become connected since", false,
		saying(func(state *adapter.State) {
			if state.Status == adapter.Degraded {
				state.Connections++
			}
		})},
	{"CountsNoSecondConnection", []string{"OutageState", "OutageAgain"}, "it has become connected since", false,
		saying(func(state *adapter.State) { state.Connections = min(state.Connections, 1) })},
	{"CountsNoConnectionAfterAShortOutage", []string{"OutageAgain"}, "it has become connected since", false, withLinks(func(l *link) {
		var last adapter.State
		count := uint64(0)
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if state.Status == adapter.Connected && last.Status != adapter.Connected { // of what nobody has looked at it does not know
				count++
			}
			last = state
			state.Connections = count
			return state, changed
		}
	})},
	{"CountsAttempts", []string{"OutageState"}, "while its broker is away", false, withLinks(func(l *link) {
		var tried atomic.Uint64
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			err := l.Link.Publish(ctx, topic, msg)
			if errors.Is(err, adapter.ErrUnavailable) {
				tried.Add(1)
			}
			return err
		}
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			state.Connections += tried.Load()
			return state, changed
		}
	})},
	{"NeverComesBack", []string{"OutageState", "OutageOpen"}, "want connected", true, withLinks(func(l *link) { giveUpAfter(l, 1) })},
	{"GivesUpAfterTenOutages", []string{"OutageAgain"}, "want connected", true, withLinks(func(l *link) { giveUpAfter(l, 10) })},

	{"PublishWaitsForTheBroker", []string{"OutagePublish"}, "Publish without a broker has not returned", true,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			for {
				_, changed := l.Link.State()
				err := l.Link.Publish(ctx, topic, msg)
				if !errors.Is(err, adapter.ErrUnavailable) {
					return err
				}
				select {
				case <-changed:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})},
	{"PublishDropsWithoutBroker", []string{"OutagePublish"}, "returned <nil>", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			if err := l.Link.Publish(ctx, topic, msg); !errors.Is(err, adapter.ErrUnavailable) {
				return err
			}
			return nil
		})},
	{"ErrorOfItsOwnWithoutBroker", []string{"OutagePublish", "OutageOrder"}, "broken pipe", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			if err := l.Link.Publish(ctx, topic, msg); !errors.Is(err, adapter.ErrUnavailable) {
				return err
			}
			return errors.New("broken pipe")
		})},
	{"SendsWhatItHasRefused", []string{"OutagePublish"}, "which Publish had refused", false, withLinks(func(l *link) {
		sendKept(l, true)
	})},
	{"SendsTheLastAgain", []string{"OutageOrder"}, "came twice", false, withLinks(func(l *link) {
		var mu sync.Mutex // guards what follows
		var lastTopic adapter.Topic
		var last []byte
		again := 0 // many times: the others may not be back yet, nor have got it before
		l.lost = func() {
			mu.Lock()
			defer mu.Unlock()
			again = 50
		}
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if again > 0 && !l.degraded() {
				again--
				_ = l.Link.Publish(ctx, lastTopic, last)
			}
			err := l.Link.Publish(ctx, topic, msg)
			if err == nil && topic.Kind != adapter.Node && again == 0 {
				lastTopic, last = topic, bytes.Clone(msg)
			}
			return err
		}
	})},
	{"SendsTheOutagesMessagesLater", []string{"OutageOrder"}, "came behind message", false, withLinks(func(l *link) { sendKept(l, false) })},
	{"LosesSomeAfterAnOutage", []string{"OutageOrder"}, "are lost", false, withLinks(func(l *link) {
		var restored atomic.Bool
		var count atomic.Int64
		l.back = func() { restored.Store(true) }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			if restored.Load() && topic.Kind == adapter.Room && count.Add(1)%20 == 0 {
				return nil
			}
			return l.Link.Publish(ctx, topic, msg)
		}
	})},

	{"DoesNotResubscribe", []string{"OutageSubscriptions", "OutageFence", "OutageOrder", "OutageAgain"}, "", false, withLinks(func(l *link) { forgetRooms(l, 1, false) })},
	{"ResubscribesOnce", []string{"OutageSubscriptions"}, "outage 1: got", false, withLinks(func(l *link) { forgetRooms(l, 2, false) })},
	{"ResubscribesLate", []string{"OutageSubscriptions", "OutageFence"}, "missed", false, withLinks(func(l *link) { forgetRooms(l, 1, true) })},
	{"ForgetsSubscriptionsOfTheOutage", []string{"OutageSubscriptions", "OutageFence", "OutageOpen"}, "", false,
		subscribing(func(ctx context.Context, l *link, topics ...adapter.Topic) error {
			if l.degraded() {
				topics = slices.DeleteFunc(slices.Clone(topics), func(topic adapter.Topic) bool { return topic.Kind == adapter.Room })
			}
			return l.Link.Subscribe(ctx, topics...)
		})},
	{"RefusesToSubscribeWithoutBroker", []string{"OutageSubscriptions", "OutageFence", "OutageOpen"}, "Subscribe", false,
		subscribing(func(ctx context.Context, l *link, topics ...adapter.Topic) error {
			if l.degraded() {
				return adapter.ErrUnavailable
			}
			return l.Link.Subscribe(ctx, topics...)
		})},
	{"SubscribeWaitsForTheBroker", []string{"OutageSubscriptions"}, "Subscribe without a broker", true,
		subscribing(func(ctx context.Context, l *link, topics ...adapter.Topic) error {
			if state, changed := l.Link.State(); state.Status == adapter.Degraded {
				select {
				case <-changed:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return l.Link.Subscribe(ctx, topics...)
		})},
	{"RevivesWhatWasUnsubscribed", []string{"OutageSubscriptions"}, "has been ended", false, withLinks(func(l *link) {
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			if l.degraded() {
				return nil
			}
			return l.Link.Unsubscribe(ctx, topics...)
		}
	})},
	{"EndsWhatWasSubscribedAgain", []string{"OutageSubscriptions"}, "missed", false, withLinks(func(l *link) {
		var ended []adapter.Topic // carried out when the broker is back, whatever has been subscribed since
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			if l.degraded() {
				ended = append(ended, topics...)
			}
			return l.Link.Unsubscribe(ctx, topics...)
		}
		l.back = func() { _ = l.Link.Unsubscribe(context.Background(), ended...) }
	})},

	{"ReadsTwoConnectionsAtATime", []string{"OutageRecv"}, "while another call of it was running", false, withLinks(readByConnection)},
	{"ReadsTheNewConnectionFirst", []string{"OutageRecv"}, "came behind what was published after it", false, withLinks(readNewestFirst)},

	{"CloseWaitsForTheBroker", []string{"OutageClose"}, "Close has not returned", true, withLinks(func(l *link) {
		l.close = func() error {
			if state, changed := l.Link.State(); state.Status == adapter.Degraded {
				<-changed
			}
			return l.Link.Close()
		}
	})},
	{"ComesBackAfterClose", []string{"OutageClose"}, "Close had returned", false, withLinks(func(l *link) {
		var closed atomic.Bool
		l.close = func() error {
			if l.degraded() {
				closed.Store(true)
				return nil
			}
			return l.Link.Close()
		}
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if closed.Load() {
				state.Status, state.Reason, changed = adapter.Closed, nil, nil
			}
			return state, changed
		}
		unlessClosed := func(do func() error) error {
			if closed.Load() {
				return adapter.ErrClosed
			}
			return do()
		}
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			return unlessClosed(func() error { return l.Link.Publish(ctx, topic, msg) })
		}
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			return unlessClosed(func() error { return l.Link.Subscribe(ctx, topics...) })
		}
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			return unlessClosed(func() error { return l.Link.Unsubscribe(ctx, topics...) })
		}
	})},
	{"UnavailableThoughClosed", []string{"OutageClose"}, "has not returned", true, hanging(func(l *link, release <-chan struct{}) {
		var away atomic.Bool
		l.lost = func() { away.Store(true) }
		l.back = func() { away.Store(false) }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			select {
			case <-release:
				return adapter.ErrClosed
			default:
			}
			if away.Load() {
				return adapter.ErrUnavailable
			}
			return l.Link.Publish(ctx, topic, msg)
		}
	})},
	{"DegradedThoughClosed", []string{"OutageClose"}, "want closed", false, withLinks(func(l *link) {
		var away atomic.Bool
		l.lost = func() { away.Store(true) }
		l.back = func() { away.Store(false) }
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			if away.Load() {
				state.Status, state.Reason = adapter.Degraded, errors.New("no broker")
			}
			return state, changed
		}
	})},

	{"OpenWaitsForTheBroker", []string{"OutageOpen"}, "Open without a broker has not returned", true, openWaiting},
	{"OpensForLifeInAnOutage", []string{"OutageOpen"}, "want connected", true, withLinks(func(l *link) {
		var dead atomic.Bool
		var once sync.Once
		l.state = func() (adapter.State, <-chan struct{}) {
			once.Do(func() { dead.Store(l.degraded()) }) // it was not there to see the change
			state, changed := l.Link.State()
			if dead.Load() {
				state.Status, state.Reason = adapter.Degraded, errors.New("no broker")
			}
			return state, changed
		}
	})},
	{"SaysConnectedWhenOpenedInAnOutage", []string{"OutageOpen"}, "want degraded", true, withLinks(func(l *link) {
		var once sync.Once
		early := false
		l.state = func() (adapter.State, <-chan struct{}) {
			once.Do(func() { early = l.degraded() })
			state, changed := l.Link.State()
			if early {
				state.Status, state.Reason = adapter.Connected, nil
			}
			return state, changed
		}
	})},
	{"LeaksAGoroutineInEachOutage", []string{"OutageAgain"}, "goroutines before 11 more outages", true, hanging(func(l *link, release <-chan struct{}) {
		l.back = func() { go func() { <-release }() }
	})},

	{"PromisesTooMuch", []string{"LargestMessage"}, "has been changed", false, withLinks(func(l *link) {
		l.maxMessage = func() int { return 1 << 20 }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			return l.Link.Publish(ctx, topic, msg[:min(len(msg), 1<<20-1)])
		}
	})},
	{"RefusesWhatItPromises", []string{"LargestMessage"}, "Publish of 20000 bytes, where MaxMessage is 20000", false, withLinks(func(l *link) {
		l.maxMessage = func() int { return 20_000 }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			if len(msg) >= 20_000 {
				return errors.New("too large")
			}
			return l.Link.Publish(ctx, topic, msg)
		}
	})},
	{"NegativeLimit", []string{"LargestMessage"}, "want 0 for any size", false, withLinks(func(l *link) { l.maxMessage = func() int { return -1 } })},
	{"UnavailableForLargeMessages", []string{"LargestMessage"}, "final for this message", false, withLinks(func(l *link) {
		l.maxMessage = func() int { return 20_000 }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			if len(msg) > 20_000 {
				return adapter.ErrUnavailable
			}
			return l.Link.Publish(ctx, topic, msg)
		}
	})},
	{"LosesItsConnectionOverALargeMessage", []string{"LargestMessage"}, "adapter: closed", false, withLinks(func(l *link) {
		l.maxMessage = func() int { return 20_000 }
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			if len(msg) > 20_000 {
				return errors.Join(errors.New("too large"), l.Link.Close())
			}
			return l.Link.Publish(ctx, topic, msg)
		}
	})},
}
