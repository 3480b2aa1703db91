package transport

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// newExchange returns an Exchange, as another node might serve it, and what counts for it.
func newExchange(t *testing.T) (*Exchange, *pollingOwner, *budget.Budget) {
	b := budget.New(1 << 20)
	x, o := new(Exchange), new(pollingOwner)
	x.Init(newShared(t, Config{MaxMessage: 100, QueueBytes: 1000, Budget: b}), o)
	return x, o, b
}

// TestExchange: a session that polls, without HTTP.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o, b := newExchange(t)
		done := make(chan struct{})
		answers := make(chan string)
		take := func() {
			got, err := x.Take()
			if err == nil {
				err = got.Wait(done)
			}
			if err != nil {
				answers <- err.Error()
				return
			}
			got.Wrote(len(got.Payload))
			got.Done(nil)
			answers <- string(got.Payload)
		}
		want := func(want string) {
			t.Helper()
			kit.Equal(t, <-answers, want)
		}
		go take() // waits
		synctest.Wait()
		x.Append(textFrame("4one"))
		want("4one")
		x.Append(textFrame("4two"))
		x.Append(NewFrame(true, []byte{0, 255}))
		go take()
		want("4two\x1ebAP8=")
		kit.Equal(t, x.Taken(), 14, "bytes that the client has taken")

		put := kit.Must(x.Put())(t)
		put.Hold(50)
		if _, in := x.Waiting(); in.Bytes != 50 || b.Used() != 50 {
			t.Errorf("%d bytes have come, %d count", in.Bytes, b.Used())
		}
		x.Pause()
		go func() {
			if err := put.Done(put.Deliver([]byte("4up"), done)); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		o.want(t)
		x.Resume()
		synctest.Wait()
		o.want(t, "payload 4up")

		go take()
		synctest.Wait()
		x.Close()
		want("1")
		o.want(t, "payload 4up", "closed")
		go take()
		want(ErrOver.Error())
		kit.Equal(t, b.Used(), 0, "bytes count in the end")
	})
}

// TestExchangeEnds: how a session ends by what is done with it.
func TestExchangeEnds(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	for name, test := range map[string]struct {
		do   func(t *testing.T, x *Exchange, o *pollingOwner)
		want []string
	}{
		"a second Take": {func(t *testing.T, x *Exchange, _ *pollingOwner) {
			x.Take()
			if _, err := x.Take(); !errors.Is(err, ErrOverlap) {
				t.Errorf("got %v", err)
			}
		}, []string{"closing " + ErrOverlap.Error(), "closed"}},
		"a second Put": {func(t *testing.T, x *Exchange, _ *pollingOwner) {
			x.Put()
			if _, err := x.Put(); !errors.Is(err, ErrOverlap) {
				t.Errorf("got %v", err)
			}
		}, []string{"closing " + ErrOverlap.Error(), "closed"}},
		"the client gives up": {func(t *testing.T, x *Exchange, _ *pollingOwner) {
			take, _ := x.Take()
			kit.ErrorIs(t, take.Wait(closed), ErrAborted)
		}, []string{"closing " + ErrAborted.Error(), "closed"}},
		"an answer does not arrive": {func(t *testing.T, x *Exchange, _ *pollingOwner) {
			x.Append(textFrame("4lost"))
			take, _ := x.Take()
			take.Wait(nil)
			take.Done(errOwner)
		}, []string{"closing " + ErrAborted.Error(), "closed"}},
		"a payload breaks the rules": {func(t *testing.T, x *Exchange, o *pollingOwner) {
			o.fail = engineio.ErrParse
			put, _ := x.Put()
			kit.Equal(t, put.Deliver([]byte("x"), nil), engineio.ErrParse)
		}, []string{"payload x"}},
		"it is aborted in the midst of a Take and a Put": {func(t *testing.T, x *Exchange, _ *pollingOwner) {
			x.Append(textFrame("4unread"))
			take, _ := x.Take()
			take.Wait(nil)
			put, _ := x.Put()
			abandoned := ""
			take.OnAbort(func() { abandoned += "take" })
			put.OnAbort(func() { abandoned += "put" })
			x.Abort()
			take.OnAbort(func() { abandoned += " late" })
			put.OnAbort(nil)
			kit.Equal(t, abandoned, "puttake late", "abandoned")
			kit.ErrorIs(t, put.Deliver([]byte("4x"), nil), ErrOver)
			take.Done(ErrAborted)
			put.Done(ErrOver)
		}, []string{"closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			x, o, b := newExchange(t)
			test.do(t, x, o)
			o.want(t, test.want...)
			x.Abort()
			kit.Equal(t, b.Used(), 0, "bytes count in the end")
		})
	}
}

// TestExchangeKnowsNoHTTP: whoever serves polls by other means needs these files alone.
func TestExchangeKnowsNoHTTP(t *testing.T) {
	for _, file := range []string{"exchange.go", "take.go", "put.go"} {
		out, err := exec.Command("go", "list", "-f", "{{.Imports}}", file).CombinedOutput()
		if err != nil || strings.Contains(string(out), "net/http") || !strings.Contains(string(out), "internal/engineio") && file != "take.go" {
			t.Errorf("%s imports %s, %v", file, out, err)
		}
	}
}

var _ outbox.Heir = (*WebSocket)(nil)
