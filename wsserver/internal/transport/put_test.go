package transport

import (
	"errors"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// later begins a Put with DeliverLater, which is done when it is delivered. told holds what it was told.
func later(t *testing.T, x *Exchange, payload string) (put *Put, told chan error) {
	t.Helper()
	put, told = kit.Must(x.Put())(t), make(chan error, 2)
	put.Hold(len(payload))
	put.DeliverLater([]byte(payload), func(err error) { told <- put.Done(err) })
	return put, told
}

// TestDeliverLater: a Put waits for the end of a pause without a goroutine, and what ends its wait otherwise.
func TestDeliverLater(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(x *Exchange, p *Put)
		told error
		want []string // the receiver's calls
	}{
		"Resume":        {func(x *Exchange, _ *Put) { x.Resume() }, nil, []string{"payload 4up"}},
		"Resume twice":  {func(x *Exchange, _ *Put) { x.Resume(); x.Resume() }, nil, []string{"payload 4up"}},
		"Pause, Resume": {func(x *Exchange, _ *Put) { x.Pause(); x.Resume() }, nil, []string{"payload 4up"}},
		"Close":         {func(x *Exchange, _ *Put) { x.Close() }, nil, nil},
		"Abort":         {func(x *Exchange, _ *Put) { x.Abort() }, ErrOver, []string{"closed"}},
		"Dismiss":       {func(x *Exchange, _ *Put) { x.Dismiss() }, ErrOver, []string{"closed"}},
		"GiveUp": {func(_ *Exchange, p *Put) { p.GiveUp(); p.GiveUp() }, ErrAborted,
			[]string{"closing " + ErrAborted.Error(), "closed"}},
		"GiveUp after Resume": {func(x *Exchange, p *Put) { x.Resume(); synctest.Wait(); p.GiveUp() }, nil,
			[]string{"payload 4up"}},
		"overlap": {func(x *Exchange, _ *Put) { x.Put() }, ErrOver,
			[]string{"closing " + ErrOverlap.Error(), "closed"}},
		"MoveTo, Resume": {func(x *Exchange, _ *Put) { x.MoveTo(new(inbox)); x.Resume() }, nil,
			[]string{"payload 4up"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, o, b := newExchange(t)
				x.Pause()
				goroutines := runtime.NumGoroutine()
				put, told := later(t, x, "4up")
				synctest.Wait()
				if n := runtime.NumGoroutine(); n > goroutines { // others may end meanwhile
					t.Errorf("goroutines while it waits: %d, %d before", n, goroutines)
				}
				kit.Len(t, o.calls, 0, "calls while it waits")
				test.do(x, put)
				synctest.Wait()
				kit.Equal(t, len(told), 1, "times told")
				kit.ErrorIs(t, <-told, test.told)
				o.want(t, test.want...)
				x.Abort()
				kit.Equal(t, b.Used(), 0, "bytes count in the end")
			})
		})
	}
}

// TestDeliverLaterPausedAgain: a Put that was about to go on, when another pause began, waits on.
func TestDeliverLaterPausedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o, _ := newExchange(t)
		for range 100 {
			x.Pause()
			_, told := later(t, x, "4up")
			x.Resume()
			x.Pause()
			synctest.Wait()
			if len(told) == 0 {
				kit.Len(t, o.calls, 0, "calls while it waits")
				x.Resume()
				synctest.Wait()
			}
			kit.OK(t, <-told)
			o.want(t, "payload 4up")
			o.calls = nil
			x.Resume()
		}
	})
}

// TestDeliverLaterAtOnce: without a pause it is delivered by the caller, or nothing is received any more.
func TestDeliverLaterAtOnce(t *testing.T) {
	x, o, _ := newExchange(t)
	put, told := kit.Must(x.Put())(t), false
	put.DeliverLater([]byte("4up"), func(err error) { told = err == nil })
	kit.Check(t, told, "it was not told before DeliverLater returned")
	kit.OK(t, put.Done(nil))
	o.want(t, "payload 4up")

	put, told = kit.Must(x.Put())(t), false
	x.Close()
	x.Pause() // there is nothing to pause
	put.DeliverLater([]byte("4late"), func(err error) { told = err == nil })
	kit.Check(t, told, "a session that closes was waited for")
	o.want(t, "payload 4up")
}

// TestPutDone: what the end of a Put means for its session, and what the client learns.
func TestPutDone(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		answer error
		want   []string
	}{
		"nothing":     {nil, nil, nil},
		"too large":   {ErrTooLarge, ErrTooLarge, nil}, // the session goes on
		"over":        {ErrOver, ErrOver, nil},
		"aborted":     {ErrAborted, ErrAborted, []string{"closing " + ErrAborted.Error(), "closed"}},
		"bytes":       {ErrContentType, ErrContentType, []string{"closing " + ErrContentType.Error(), "closed"}},
		"a rule":      {engineio.ErrParse, engineio.ErrParse, []string{"closing " + engineio.ErrParse.Error(), "closed"}},
		"the owner's": {ownError{errOwner}, nil, []string{"closing " + errOwner.Error()}},
		"another":     {io.EOF, io.EOF, []string{"closing ? " + io.EOF.Error(), "closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			x, o, _ := newExchange(t)
			kit.ErrorIs(t, kit.Must(x.Put())(t).Done(test.err), test.answer)
			o.want(t, test.want...)
			if test.want == nil {
				kit.OK(t, kit.Must(x.Put())(t).Done(nil), "the next Put")
			}
			x.Abort()
		})
	}
}

// account is a BodyHolder of no session.
type account struct {
	held  []int
	abort func()
}

func (a *account) Hold(n int)                        { a.held = append(a.held, n) }
func (a *account) AwaitBudget(<-chan struct{}) error { return errOwner }
func (a *account) OnAbort(f func())                  { a.abort = f }

// TestReadBody: a body is read for whoever counts it, and the answer tells the client what became of it.
func TestReadBody(t *testing.T) {
	shared := newShared(t, Config{MaxMessage: 100})
	for _, test := range []struct {
		body, contentType string
		want              error
		status            int
		answer            string
	}{
		{"4one", "text/plain", nil, 200, "ok"},
		{strings.Repeat("x", 100), "", nil, 200, "ok"},
		{strings.Repeat("x", 101), "", ErrTooLarge, 413, ""},
		{"4one", "application/octet-stream; q=1", ErrContentType, 400, badRequestBody},
	} {
		for _, announced := range []bool{true, false} {
			w, r, a := httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(test.body)), new(account)
			r.Header.Set("Content-Type", test.contentType)
			if !announced {
				r.ContentLength = -1
			}
			body, err := shared.ReadBody(w, r, a)
			kit.ErrorIs(t, err, test.want)
			if err == nil {
				kit.Equal(t, string(body), test.body)
				kit.Check(t, a.held[len(a.held)-1] >= 2*len(body), "holds %v", a.held)
			}
			kit.Check(t, a.abort == nil, "the body is read, and may be aborted")
			shared.AnswerPost(w, err)
			wantAnswer(t, w.Code, w.Body.String(), test.status, test.answer)
		}
	}
	w, a := httptest.NewRecorder(), new(account)
	torn := io.MultiReader(strings.NewReader("4"), failingReader{})
	_, err := shared.ReadBody(w, httptest.NewRequest("POST", "/", torn), a)
	kit.Check(t, errors.Is(err, ErrAborted) && errors.Is(err, errOwner), "got %v", err)
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errOwner }
