package main

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A device that was lost comes back to another node and gets what it has missed, once, and no list; by
// a token with fewer groups it is in these alone.
func TestLost(t *testing.T) {
	a := new(adapter.Memory)
	one, two := newTestNode(t, a), newTestNode(t, a)
	auth := make(map[string]string)
	sign := func(groups ...string) {
		signed, err := token(testSettings, "ann", groups, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		auth["token"] = signed
	}
	sign("staff", "night shift")
	ann := device{wstest.Dial(t, one.io, wstest.Config{Auth: auth}), t}
	next[welcome](ann, "welcome")
	deliver(t, two, "/notify/user/ann", "before", 1)
	next[notification](ann, "notification")
	ann.Abort()
	kit.Eventually(t, "the device is away", func() bool { return one.io.Stats().Recovery.Away == 1 })
	deliver(t, two, "/notify/user/ann", "first", 0)
	deliver(t, one, "/notify/group/staff", "second", 0)
	sign("staff")
	ann.Return(two.io)
	if !ann.Recovered() {
		t.Fatalf("the device was not recovered: %+v", two.io.Stats().Recovery.Refused)
	}
	for _, want := range []string{"first", "second"} {
		if n := next[notification](ann, "notification"); n.Title != want {
			t.Errorf("missed: got %q, want %q", n.Title, want)
		}
	}
	if w := next[welcome](ann, "welcome"); w.Node != two.url || len(w.Unread)+len(w.Read) > 0 {
		t.Errorf("welcome: got %+v, want the node and no lists", w)
	}
	deliver(t, one, "/notify/group/night%20shift", "not for her", 0)
	deliver(t, one, "/notify/group/staff", "third", 1)
	if got := ann.titles(); got != "third" {
		t.Errorf("after the return: got %q", got)
	}
}
