package outbox

import (
	"github.com/belfry-io/belfry/test/kit"
	"sync"
	"sync/atomic"
	"testing"
)

// TestForms: each form is made once, however many ask for it at once, keeps what the frame is, and is another's neighbour.
func TestForms(t *testing.T) {
	for range 100 {
		f := &Frame{Bytes: []byte("f"), Volatile: true, NoCompress: true, Ping: true}
		var calls [3]atomic.Int32
		var forms [3]*Form
		for i := range forms {
			forms[i] = &Form{func(f *Frame) []byte {
				if calls[i].Add(1); i == 0 {
					return nil // as it is
				}
				return append([]byte{byte('0' + i)}, f.Bytes...)
			}}
		}
		var got [4][3]*Frame
		var asking sync.WaitGroup
		for who := range got {
			asking.Go(func() {
				for i := range forms {
					at := (who + i) % len(forms)
					got[who][at] = f.As(forms[at])
				}
			})
		}
		asking.Wait()
		for i := range forms {
			kit.Want(t, calls[i].Load(), 1, "form", i, "makings")
		}
		for _, each := range got {
			if each != got[0] {
				t.Errorf("got %v, others %v", each, got[0])
			}
		}
		kit.Want(t, got[0][0], f, "a form that is the frame itself is another frame")
		for i, want := range []string{"f", "1f", "2f"} {
			if form := got[0][i]; string(form.Bytes) != want || !form.Volatile || !form.NoCompress || !form.Ping {
				t.Errorf("form %d is %+v, want %q", i, form, want)
			}
		}
	}
}
