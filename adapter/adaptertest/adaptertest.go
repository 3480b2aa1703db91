// Package adaptertest checks a driver against the contract of [adapter.Adapter] and [adapter.Link].
//
// A driver's test calls [Run] once for each kind of cluster: one broker, three brokers, with TLS,
// and so on. The suite never waits for nothing to happen: to show that a message does not come, it
// publishes a second one behind it.
package adaptertest

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

// A Config says how to make the clusters for the suite.
type Config struct {
	// New returns adapters that all join one new, empty cluster; it is called once for every case.
	// The i-th node of a case opens the i-th adapter, beginning again after the last. For a cluster
	// with several brokers, return an adapter for each, so that the nodes use different brokers.
	// Cases may share brokers, as long as no message passes from one cluster to another. Use
	// t.Cleanup to stop what New has started; the suite has closed all links by then. A link that
	// is an [adapter.Limiter] must take 16 KiB, any other 512 KiB.
	New func(t *testing.T) []adapter.Adapter

	// Exact says that the driver delivers what was asked for and no more: no message of the link
	// itself, none on a topic that the link is not subscribed to, none twice unless two different
	// subscriptions cover its topic. After Unsubscribe has returned, this holds for publishers that
	// have received a later message of the link. The contract does not demand it.
	Exact bool

	// Load loads the brokers of New's last cluster until stop is called. It is for the rule about
	// Subscribe, which an idle cluster may keep by luck. nil means that the suite makes load with
	// links alone.
	Load func(t *testing.T) (stop func())

	// Interrupt takes away, as a crash does, the brokers that links of the i-th adapter of New's
	// last call reach. It returns when they are gone; restore returns when they are back and all
	// brokers have found each other. In between, no such link reaches any broker. Links of the
	// other adapters may lose their brokers, too. The suite interrupts all adapters, one after the
	// other, and the first one alone. Interrupt must be set unless NoBroker is.
	Interrupt func(t *testing.T, i int) (restore func())

	// NoBroker says that the links have no broker to lose: the cases that interrupt it are left
	// out.
	NoBroker bool

	// Timeout is how long the suite waits for what must happen, such as the arrival of a message.
	// Zero means 10 seconds.
	Timeout time.Duration
}

// A testCase is a rule of the contract and the test that holds a driver to it.
type testCase struct {
	name  string
	rule  string
	test  func(c *cluster)
	exact bool // only for drivers that promise Config.Exact
	cut   bool // only for drivers with a broker, which it interrupts
}

var cases = []testCase{
	{name: "DeliverEveryKind", test: testDeliverEveryKind,
		rule: "a message reaches every other link that is subscribed to its topic, whatever the topic's kind"},
	{name: "ManyTopics", test: testManyTopics,
		rule: "a call of Subscribe or Unsubscribe takes any number of topics"},
	{name: "EmptyMessage", test: testEmptyMessage,
		rule: "a message without bytes is a message"},
	{name: "LargeMessage", test: testLargeMessage,
		rule: "a message of 512 KiB, or of what a Limiter allows if that is less, arrives whole and in its place"},
	{name: "LargestMessage", test: testLargestMessage,
		rule: "a message of the size that a Limiter names arrives whole, and one over it costs nothing but itself"},
	{name: "OrderAcrossTopics", test: testOrderAcrossTopics,
		rule: "one publisher's messages keep their order across topics"},
	{name: "OrderOfEachPublisher", test: testOrderOfEachPublisher,
		rule: "one publisher's messages keep their order while others publish"},
	{name: "RecvOneAtATime", test: testRecvOneAtATime,
		rule: "recv is called from one goroutine at a time"},
	{name: "TwoWayTraffic", test: testTwoWayTraffic,
		rule: "links that publish to each other at full speed neither lose a message nor wait for each other for ever"},
	{name: "ConcurrentUse", test: testConcurrentUse,
		rule: "a link's methods may be called concurrently, and each subscription ends up as its last call left it"},

	{name: "Fence", test: testFence,
		rule: "once Subscribe(T) has returned, whoever publishes on T after having received a message that the link published after the return reaches the link"},
	{name: "FenceUnderLoad", test: testFenceUnderLoad,
		rule: "once Subscribe(T) has returned, whoever publishes on T after having received a message that the link published after the return reaches the link, on busy brokers too"},
	{name: "SubscribeAgain", test: testSubscribeAgain,
		rule: "a topic that is subscribed again after Unsubscribe is received again"},
	{name: "SubscribeTwice", test: testSubscribeTwice,
		rule: "Subscribe leaves a topic that is subscribed already as it is, and Unsubscribe one that is not"},

	{name: "PublishKeepsNothing", test: testPublishKeepsNothing,
		rule: "Publish neither modifies msg nor keeps it after it has returned"},
	{name: "RecvOwnsMessage", test: testRecvOwnsMessage,
		rule: "recv owns msg: it may keep it, overwrite it and append to it, and shares it with nobody"},

	{name: "HostileNames", test: testHostileNames,
		rule: "a topic's strings are any bytes of any length: none is refused, lost or costs the link its connection"},
	{name: "UnsubscribeHostileNames", test: testUnsubscribeHostileNames,
		rule: "Unsubscribe ends no other topic's subscription, however alike the names"},
	{name: "ExactHostileNames", test: testExactHostileNames, exact: true,
		rule: "no name reaches another topic"},
	{name: "NodeCoversPrivate", test: testNodeCoversPrivate,
		rule: "a subscription to a node's topic covers all its private topics"},
	{name: "PrivateAlone", test: testPrivateAlone,
		rule: "a private topic can be subscribed without its node's, and beside it"},
	{name: "ExactPrivate", test: testExactPrivate, exact: true,
		rule: "a node's topic covers the private topics of no other node"},
	{name: "ExactOnce", test: testExactOnce, exact: true,
		rule: "a link receives a message once, none of its own, and none on a topic that it has left"},

	{name: "Probe", test: testProbe,
		rule: "a Prober hands back what it was given if no other link is subscribed to a node's topic, and otherwise nothing happens"},
	{name: "RoundTrip", test: testRoundTrip,
		rule: "a State's RoundTrip is a time that can have passed"},

	{name: "State", test: testState,
		rule: "State is Connected, for the first time, with an open channel, then Closed, and the change closes the channel"},
	{name: "OpenContext", test: testOpenContext,
		rule: "the ctx of Open bounds Open alone: it may end at any time without harm to a link, and an Open whose ctx has ended returns at once"},
	{name: "EndedContext", test: testEndedContext,
		rule: "a call whose ctx has ended returns at once and leaves the link in order"},
	{name: "OpenConcurrently", test: testOpenConcurrently,
		rule: "an Adapter may be opened concurrently, and each Open is one node"},
	{name: "CloseEndsRecv", test: testCloseEndsRecv,
		rule: "recv is not called after Close has returned, nor does it still run then"},
	{name: "CloseConcurrently", test: testCloseConcurrently,
		rule: "Close may be called any number of times, also concurrently: each returns nil, and none before the link is closed"},
	{name: "CloseUnderTraffic", test: testCloseUnderTraffic,
		rule: "Close returns within a bounded time whatever the other methods are doing, and lets them return ErrClosed"},
	{name: "CloseSendsFirst", test: testCloseSendsFirst,
		rule: "what Publish accepted before Close is sent"},
	{name: "CloseLeavesOthersAlone", test: testCloseLeavesOthersAlone,
		rule: "the other links miss nothing when a link closes"},
	{name: "AfterClose", test: testAfterClose,
		rule: "the methods of a closed link return ErrClosed"},
	{name: "NoLeak", test: testNoLeak,
		rule: "a closed link leaves no goroutine behind"},

	{name: "OutageState", test: testOutageState, cut: true,
		rule: "a link is Degraded with a Reason while its broker is away, Connected by itself, and once more, when it is back, and each change closes the channel"},
	{name: "OutagePublish", test: testOutagePublish, cut: true,
		rule: "Publish of a Degraded link returns ErrUnavailable within a bounded time, and what it has refused is not sent later"},
	{name: "OutageProbe", test: testOutageProbe, cut: true,
		rule: "Probe of a Degraded link returns ErrUnavailable within a bounded time, and is right again when the link is Connected"},
	{name: "OutageSubscriptions", test: testOutageSubscriptions, cut: true,
		rule: "a link that is Connected again has the subscriptions from before the outage and those made meanwhile, without those ended meanwhile"},
	{name: "OutageFence", test: testOutageFence, cut: true,
		rule: "whoever publishes on T after having received a message that the link published after Subscribe(T) and since it last became Connected reaches the link"},
	{name: "OutageOrder", test: testOutageOrder, cut: true,
		rule: "one publisher's messages keep their order over an outage, and none is lost once the links are Connected"},
	{name: "OutageRecv", test: testOutageRecv, cut: true,
		rule: "recv is called from one goroutine at a time over an outage, and with older messages first"},
	{name: "OutageClose", test: testOutageClose, cut: true,
		rule: "Close returns within a bounded time during an outage, and a link that was closed then stays closed"},
	{name: "OutageOpen", test: testOutageOpen, cut: true,
		rule: "Open returns within a bounded time during an outage: an error, or a link that is Degraded and comes up by itself"},
	{name: "OutageAgain", test: testOutageAgain, cut: true,
		rule: "a link survives any number of outages, short ones too, tells of each by its Connections, and leaves no goroutine behind"},
}

// Run runs the suite. Each case is a subtest of t, on a cluster of its own, one after the other. A
// case that fails prints the rule that the driver breaks. Other tests may run meanwhile: a case
// looks only for goroutines that it has started itself, directly or not.
func Run(t *testing.T, cfg Config) {
	if (cfg.Interrupt == nil) != cfg.NoBroker {
		t.Errorf("adaptertest: set one of Config.Interrupt and Config.NoBroker: every driver that has a broker must outlive its restart")
	}
	for _, tc := range cases {
		if tc.exact && !cfg.Exact || tc.cut && cfg.Interrupt == nil {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			c := &cluster{t: t, adapters: cfg.New(t), exact: cfg.Exact, timeout: cfg.Timeout}
			if cfg.Load != nil {
				c.load = func() func() { return cfg.Load(t) }
			}
			if cfg.Interrupt != nil {
				c.interrupt = func(i int) func() { return cfg.Interrupt(t, i) }
			}
			tc.run(c)
		})
	}
}

func (tc testCase) run(c *cluster) {
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("rule: %s", tc.rule)
		}
	})
	if c.timeout == 0 {
		c.timeout = 10 * time.Second
	}
	if len(c.adapters) == 0 {
		c.t.Fatalf("Config.New has returned no adapter")
	}
	c.broken = make(chan struct{})
	c.t.Cleanup(c.close)
	c.labelled(tc.test)
}
