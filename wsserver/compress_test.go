package wsserver_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestCompression: events are compressed where that is asked for, on every node, unless whoever emits says no.
func TestCompression(t *testing.T) {
	cluster := new(adapter.Memory)
	cfg := wsserver.Config{Adapter: cluster, Compression: wsserver.Compression{HTTP: true, PerMessageDeflate: true}}
	srv, other := newServer(t, cfg), newServer(t, cfg)
	for _, s := range []*wsserver.Server{srv, other} {
		kit.OK(t, s.Ready(t.Context()))
	}
	hs := httptest.NewServer(srv)
	defer hs.Close()
	text := strings.Repeat("tell me once, ", 200)
	sid := open(t, hs.URL)
	post(t, hs.URL, sid, "40")
	if got := poll(t, hs.URL, sid); !strings.HasPrefix(got.body, `40{"sid":`) || got.compressed {
		t.Fatalf("got %+v, want the CONNECT packet as it is", got)
	}
	s := srv.Of("/").Sockets()[0]
	kept := s.Compress(false)
	for _, test := range []struct {
		name string
		from interface {
			Emit(ctx context.Context, event string, args ...any) error
		}
		text       string
		compressed bool
	}{
		{"from this node", srv.Except(), text, true},
		{"from another node", other.Except(), text, true},
		{"which is small", srv.Except(), "small", false},
		{"which is not to be, from this node", srv.All().Compress(false), text, false},
		{"which is not to be, from another node", other.Of("/").All().Compress(false), text, false},
		{"to one socket", s, text, true},
		{"to one socket, which is not to be", s.Compress(false), text, false},
		{"to one socket, which is to be after all", kept.Compress(true), text, true},
		{"to one socket, by what was kept", kept, text, false},
		{"which is to be after all", srv.All().Compress(false).Compress(true), text, true},
	} {
		kit.OK(t, test.from.Emit(context.Background(), "news", test.text))
		got := poll(t, hs.URL, sid)
		if want := `42["news","` + test.text + `"]`; got.body != want || got.compressed != test.compressed {
			t.Errorf("an event %s: got %q, compressed: %t, want %q, %t", test.name, got.body, got.compressed, want, test.compressed)
		}
	}
}

// open begins a connection by polling, and returns its id.
func open(t *testing.T, url string) (sid string) {
	t.Helper()
	answer := do(t, "GET", url+"/socket.io/?EIO=4&transport=polling", "")
	_, rest, ok := strings.Cut(answer.body, `{"sid":"`)
	if sid, _, _ = strings.Cut(rest, `"`); !ok {
		t.Fatalf("open: got %q", answer.body)
	}
	return sid
}

func poll(t *testing.T, url, sid string) answered {
	t.Helper()
	return do(t, "GET", url+"/socket.io/?EIO=4&transport=polling&sid="+sid, "")
}

func post(t *testing.T, url, sid, payload string) {
	t.Helper()
	if answer := do(t, "POST", url+"/socket.io/?EIO=4&transport=polling&sid="+sid, payload); answer.body != "ok" {
		t.Fatalf("POST %q: got %q", payload, answer.body)
	}
}

type answered struct {
	body       string
	compressed bool
}

func do(t *testing.T, method, url, body string) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	kit.OK(t, err)
	r.Header.Set("Accept-Encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")
	answer, err := http.DefaultClient.Do(r)
	kit.OK(t, err)
	defer answer.Body.Close()
	reader, compressed := io.Reader(answer.Body), answer.Header.Get("Content-Encoding") == "gzip"
	if compressed {
		if reader, err = gzip.NewReader(answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(reader)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %q, %v", method, url, answer.Status, text, err)
	}
	return answered{string(text), compressed}
}
