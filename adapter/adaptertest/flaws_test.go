package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// A flaw is a driver that breaks one rule.
type flaw struct {
	name  string
	cases []string // the cases that must find it
	says  string   // what their reports must contain
	hangs bool     // only time shows that something does not happen
	open  func(t *testing.T) adapter.Adapter
}

// flaws are drivers that break a rule of delivery, of subscriptions or of a link's life.
var flaws = []flaw{
	{"OneReceiverOnly", []string{"DeliverEveryKind"}, "missed", false, openQueueGroup},
	{"DropsClusterTopic", []string{"DeliverEveryKind"}, "missed", false, dropping(func(topic adapter.Topic, _ []byte) bool { return topic.Kind == adapter.Cluster })},
	{"SubscribesTheFirst256", []string{"ManyTopics"}, "missed", false,
		subscribing(func(ctx context.Context, l *link, topics ...adapter.Topic) error {
			return l.Link.Subscribe(ctx, topics[:min(len(topics), 256)]...)
		})},
	{"UnsubscribesEverything", []string{"ManyTopics", "SubscribeTwice"}, "missed", false, withLinks(func(l *link) {
		var all []adapter.Topic
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			if topics[0].Kind != adapter.Node {
				all = append(all, topics...)
			}
			return l.Link.Subscribe(ctx, topics...)
		}
		l.unsubscribe = func(ctx context.Context, _ ...adapter.Topic) error { return l.Link.Unsubscribe(ctx, all...) }
	})},
	{"DropsEmptyMessages", []string{"EmptyMessage"}, "missed", false, dropping(func(_ adapter.Topic, msg []byte) bool { return len(msg) == 0 })},
	{"CutsLargeMessages", []string{"LargeMessage"}, "has been changed", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			return l.Link.Publish(ctx, topic, msg[:min(len(msg), 64<<10)])
		})},
	{"SendsLargeMessagesLater", []string{"LargeMessage"}, "order or a message is lost", false, withLinks(sendLargeLater)},
	{"DeliversByTopic", []string{"OrderAcrossTopics", "OrderOfEachPublisher"}, "order or a message is lost", false, withLinks(func(l *link) { deliverByTopic(l, new(sync.Mutex)) })},
	{"DeliversConcurrently", []string{"RecvOneAtATime"}, "while another call of it was running", false, withLinks(func(l *link) { deliverByTopic(l, nil) })},
	{"DropsWhenBusy", []string{"TwoWayTraffic"}, "order or a message is lost", false, withLinks(dropWhenBusy)},
	{"PublishesAndReceivesUnderOneLock", []string{"TwoWayTraffic"}, "Publish in both directions", true, openLocking},
	{"NobodyIsEverAbsent", []string{"Probe"}, "missed", true, withLinks(func(l *link) {
		l.probe = func(context.Context, adapter.Topic, []byte) error { return nil }
	})},
	{"EverybodyIsAbsent", []string{"Probe"}, "have handed back", false,
		probing(func(ctx context.Context, l *link, _ adapter.Topic, back []byte) error {
			return l.Link.(adapter.Prober).Probe(ctx, adapter.Topic{Kind: adapter.Node, Node: "nowhere"}, back)
		})},
	{"ItselfIsSomebody", []string{"Probe"}, "missed", true, withLinks(func(l *link) {
		own := adapter.Topic{}
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			if topics[0].Kind == adapter.Node {
				own = topics[0]
			}
			return l.Link.Subscribe(ctx, topics...)
		}
		l.probe = func(ctx context.Context, topic adapter.Topic, back []byte) error {
			if topic == own {
				return nil
			}
			return l.Link.(adapter.Prober).Probe(ctx, topic, back)
		}
	})},
	{"ProbesWithMessages", []string{"Probe"}, "was only probed", false,
		probing(func(ctx context.Context, l *link, topic adapter.Topic, back []byte) error {
			if err := l.Link.Publish(ctx, topic, []byte("are you there?")); err != nil {
				return err
			}
			return l.Link.(adapter.Prober).Probe(ctx, topic, back)
		})},
	{"HandsBackTheBeginning", []string{"Probe"}, "missed", true,
		probing(func(ctx context.Context, l *link, topic adapter.Topic, back []byte) error {
			return l.Link.(adapter.Prober).Probe(ctx, topic, back[:min(len(back), 32)])
		})},
	{"KeepsWhatItHandsBack", []string{"Probe"}, "missed", true, withLinks(func(l *link) {
		var kept []byte
		l.probe = func(ctx context.Context, topic adapter.Topic, back []byte) error {
			last := kept
			if kept = back; last == nil {
				return nil
			}
			return l.Link.(adapter.Prober).Probe(ctx, topic, last)
		}
	})},
	{"RemembersWhoHasGone", []string{"Probe"}, "has subscribed again", false, withLinks(func(l *link) {
		absent := false // for ever
		recv := l.recv
		var mu sync.Mutex
		l.recv = func(msg []byte) {
			mu.Lock()
			absent = absent || string(msg) == backPrefix+"unsubscribed"
			mu.Unlock()
			recv(msg)
		}
		l.probe = func(ctx context.Context, topic adapter.Topic, back []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if absent {
				topic.Node = "nowhere"
			}
			return l.Link.(adapter.Prober).Probe(ctx, topic, back)
		}
	})},
	{"IsFartherThanItCanBe", []string{"RoundTrip"}, "after the beginning", false,
		saying(func(state *adapter.State) { state.RoundTrip = time.Hour })},
	{"LosesConcurrentSubscriptions", []string{"ConcurrentUse"}, "got ", false, withLinks(loseUpdates)},
	{"LosesTheFirstOnATopic", []string{"Fence", "FenceUnderLoad"}, "is lost", false, openColdTopics},
	{"SubscribesLate", []string{"Fence", "FenceUnderLoad"}, "is lost", false,
		subscribing(func(_ context.Context, l *link, topics ...adapter.Topic) error {
			topics = slices.Clone(topics)
			time.AfterFunc(2*time.Millisecond, func() { _ = l.Link.Subscribe(context.Background(), topics...) })
			return nil
		})},
	{"UnsubscribesLate", []string{"SubscribeAgain"}, "missed", false, withLinks(func(l *link) {
		var late []adapter.Topic
		l.unsubscribe = func(_ context.Context, topics ...adapter.Topic) error {
			late = append(late, topics...)
			return nil
		}
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			if err := l.Link.Unsubscribe(ctx, late...); err != nil {
				return err
			}
			late = nil
			return l.Link.Publish(ctx, topic, msg)
		}
	})},
	{"SubscribesOnceInALife", []string{"SubscribeAgain", "SubscribeTwice"}, "missed", false, withLinks(func(l *link) {
		known := make(map[adapter.Topic]bool)
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			return l.Link.Subscribe(ctx, fresh(known, topics)...)
		}
	})},
	{"RefusesASecondSubscribe", []string{"SubscribeTwice"}, "subscribed already", false, withLinks(func(l *link) {
		known := make(map[adapter.Topic]bool)
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			if len(fresh(known, topics)) < len(topics) {
				return errors.New("subscribed already")
			}
			return l.Link.Subscribe(ctx, topics...)
		}
	})},

	{"KeepsTheBuffer", []string{"PublishKeepsNothing"}, "that nobody has published", false, withLinks(keepBuffer)},
	{"ModifiesTheBuffer", []string{"PublishKeepsNothing"}, "was modified", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			err := l.Link.Publish(ctx, topic, msg)
			if topic.Kind == adapter.Room {
				msg[0] ^= 1
			}
			return err
		})},
	{"SharesABufferAmongReceivers", []string{"RecvOwnsMessage"}, "that nobody has published", false, sharingBuffers(false)},
	{"DeliversThePublishersBuffer", []string{"RecvOwnsMessage"}, "reached the publisher's buffer", false, sharingBuffers(true)},
	{"ReadsIntoOneBuffer", []string{"RecvOwnsMessage"}, "was overwritten", false, withLinks(func(l *link) {
		recv, buf := l.recv, []byte(nil)
		l.recv = func(msg []byte) {
			buf = append(buf[:0], msg...)
			recv(buf)
		}
	})},
	{"CutsMessagesFromOneChunk", []string{"RecvOwnsMessage"}, "was overwritten", false, withLinks(func(l *link) {
		recv, chunk := l.recv, []byte(nil)
		l.recv = func(msg []byte) {
			if cap(chunk)-len(chunk) < len(msg) {
				chunk = make([]byte, 0, 64<<10+len(msg))
			}
			start := len(chunk)
			chunk = append(chunk, msg...)
			recv(chunk[start:])
		}
	})},
	{"Echoes", []string{"ExactOnce"}, "a message of the link itself", false, withLinks(func(l *link) {
		var mu sync.Mutex // guards recv
		recv := l.recv
		l.recv = func(msg []byte) {
			mu.Lock()
			defer mu.Unlock()
			recv(msg)
		}
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			err := l.Link.Publish(ctx, topic, msg)
			l.recv(bytes.Clone(msg))
			return err
		}
	})},
	{"DeliversTwice", []string{"ExactOnce"}, "each of the", false, withLinks(func(l *link) {
		recv := l.recv
		l.recv = func(msg []byte) {
			recv(bytes.Clone(msg))
			recv(msg)
		}
	})},
	{"NeverUnsubscribes", []string{"ExactOnce", "ConcurrentUse"}, "has been left", false, withLinks(func(l *link) {
		l.unsubscribe = func(context.Context, ...adapter.Topic) error { return nil }
	})},

	{"StateNeverChanges", []string{"State"}, "the end of the channel after Close", true, withLinks(func(l *link) {
		never := make(chan struct{})
		l.state = func() (adapter.State, <-chan struct{}) {
			return adapter.State{Status: adapter.Connected, Connections: 1}, never
		}
	})},
	{"StateStaysConnected", []string{"State"}, "want closed", false,
		saying(func(state *adapter.State) { state.Status = adapter.Connected })},
	{"StateChannelIsClosedForNothing", []string{"State"}, "while nothing happened", false, withLinks(func(l *link) {
		changed := make(chan struct{})
		close(changed)
		l.state = func() (adapter.State, <-chan struct{}) {
			state, _ := l.Link.State()
			return state, changed
		}
	})},
	{"CountsNoConnections", []string{"State"}, "Connections is 0", false,
		saying(func(state *adapter.State) { state.Connections = 0 })},
	{"CountsMessages", []string{"State"}, "all the while", false, withLinks(func(l *link) {
		var published atomic.Uint64
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			published.Add(1)
			return l.Link.Publish(ctx, topic, msg)
		}
		l.state = func() (adapter.State, <-chan struct{}) {
			state, changed := l.Link.State()
			state.Connections += published.Load()
			return state, changed
		}
	})},
	{"ForgetsItsConnectionsOnceClosed", []string{"State"}, "after Close", false, saying(func(state *adapter.State) {
		if state.Status == adapter.Closed {
			state.Connections = 0
		}
	})},
	{"StaysDegraded", []string{"State"}, "want connected", true, withLinks(func(l *link) {
		l.state = func() (adapter.State, <-chan struct{}) { return adapter.State{Status: adapter.Degraded}, nil }
	})},

	{"EndsWithTheContextOfOpen", []string{"OpenContext"}, "closed", false, openEndingWithContext},
	{"OpenHangsWithoutAContext", []string{"OpenContext"}, "has not returned", true, openHanging},
	{"RemembersWhatFailed", []string{"EndedContext"}, "missed", false, withLinks(func(l *link) {
		known := make(map[adapter.Topic]bool)
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error {
			return l.Link.Subscribe(ctx, fresh(known, topics)...)
		}
	})},
	{"ClosesOverAnEndedContext", []string{"EndedContext"}, "closed", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			if ctx.Err() != nil {
				return l.Link.Close()
			}
			return l.Link.Publish(ctx, topic, msg)
		})},
	{"OpensOneLinkForAll", []string{"OpenConcurrently"}, "first message", true, openOnce},

	{"RecvOutlivesClose", []string{"CloseEndsRecv", "CloseConcurrently"}, "Close had returned", false, withLinks(recvLater)},
	{"CloseDoesNotWait", []string{"CloseEndsRecv", "CloseConcurrently"}, "Close had returned", false, withLinks(func(l *link) {
		l.close = func() error {
			go func() { _ = l.Link.Close() }()
			return nil
		}
	})},
	{"SecondCloseDoesNotWait", []string{"CloseConcurrently"}, "Close had returned", false, withLinks(func(l *link) {
		var closing atomic.Bool
		l.close = func() error {
			if closing.Swap(true) {
				return nil
			}
			return l.Link.Close()
		}
	})},
	{"SecondCloseFails", []string{"CloseConcurrently"}, "adapter: closed", false, withLinks(func(l *link) {
		var closing atomic.Bool
		l.close = func() error {
			err := l.Link.Close()
			if closing.Swap(true) {
				return adapter.ErrClosed
			}
			return err
		}
	})},
	{"CloseHangs", []string{"CloseUnderTraffic"}, "Close has not returned", true, hanging(func(l *link, release <-chan struct{}) {
		l.close = func() error {
			<-release
			return l.Link.Close()
		}
	})},
	{"PublishHangsOnceClosed", []string{"CloseUnderTraffic"}, "have not returned", true, hanging(func(l *link, release <-chan struct{}) {
		l.publish = func(ctx context.Context, topic adapter.Topic, msg []byte) error {
			err := l.Link.Publish(ctx, topic, msg)
			if errors.Is(err, adapter.ErrClosed) {
				<-release
			}
			return err
		}
	})},
	{"ErrorOfItsOwnOnceClosed", []string{"CloseUnderTraffic", "AfterClose"}, "invalid connection", false,
		publishing(func(ctx context.Context, l *link, topic adapter.Topic, msg []byte) error {
			if err := l.Link.Publish(ctx, topic, msg); err != nil {
				return errors.New("invalid connection")
			}
			return nil
		})},
	{"NoErrorOnceClosed", []string{"AfterClose"}, "returned <nil>", false, withLinks(func(l *link) {
		l.unsubscribe = func(context.Context, ...adapter.Topic) error { return nil }
	})},
	{"CloseDropsWhatIsBuffered", []string{"CloseSendsFirst"}, "got ", true, withLinks(publishLater)},
	{"CloseEndsOthersSubscriptions", []string{"CloseLeavesOthersAlone"}, "n1", false, openSharingSubscriptions},
	{"LeaksAGoroutine", []string{"NoLeak"}, "goroutines before", true, hanging(func(_ *link, release <-chan struct{}) {
		go func() { <-release }()
	})},
}
