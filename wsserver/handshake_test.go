package wsserver

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/belfry-io/belfry/test/kit"
)

// TestHandshake: what is kept of a connection's first request, and what is not.
func TestHandshake(t *testing.T) {
	srv := New(Config{HTTP: HTTPConfig{KeepHeaders: []string{"cookie", "X-Empty", "X-Many", "X-Missing"}}, Logger: kit.Silent})
	defer srv.Close(t.Context())
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling&t=abc&token=a&token=b", nil)
	r.TLS = new(tls.ConnectionState)
	r.Header["Cookie"] = []string{"a=1; b=2"}
	r.Header["X-Empty"] = []string{""}
	r.Header["X-Many"] = []string{"one", "two, three"}
	r.Header["User-Agent"] = []string{"not kept"}
	before := time.Now().Truncate(time.Millisecond)
	s := newSocket(srv.newConn(r, nil), "/", []byte(`{"name":"Ann"}`))
	srv.workers.running.Done() // that of the connection, which is not one
	got := s.Handshake()
	if string(got.Auth) != `{"name":"Ann"}` || got.RemoteAddr != r.RemoteAddr || !got.Secure || got.Time.Before(before) {
		t.Errorf("got %+v", got)
	}
	if want := map[string][]string{"token": {"a", "b"}}; !reflect.DeepEqual(map[string][]string(got.Query), want) {
		t.Errorf("Query: got %v, want %v", got.Query, want)
	}
	if want := map[string][]string{"Cookie": {"a=1; b=2"}, "X-Many": {"one", "two, three"}}; !reflect.DeepEqual(map[string][]string(got.Header), want) {
		t.Errorf("Header: got %v, want %v", got.Header, want)
	}
}

// TestHandshakeParts: what is kept comes apart again, whichever parts there are.
func TestHandshakeParts(t *testing.T) {
	srv := New(Config{HTTP: HTTPConfig{KeepHeaders: []string{"X-A", "X-B"}}, Logger: kit.Silent})
	defer srv.Close(t.Context())
	for _, query := range []string{"", "&a=%00&b=1"} {
		for _, header := range []http.Header{{}, {"X-A": {"1"}}, {"X-B": {"2", "3"}}, {"X-A": {"1"}, "X-B": {"2"}}} {
			r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling"+query, nil)
			r.Header = header
			s := newSocket(&conn{server: srv, handshake: srv.handshake(r)}, "/", nil)
			got, want := s.Handshake(), url.Values{}
			if query != "" {
				want = url.Values{"a": {"\x00"}, "b": {"1"}}
			}
			kit.Check(t, got.RemoteAddr == r.RemoteAddr && reflect.DeepEqual(url.Values(got.Query), want) && reflect.DeepEqual(got.Header, header),
				"%q, %v: got %+v", query, header, got)
		}
	}
}

// TestHandshakeIsSmall: a connection does not hold on to the memory of its request.
func TestHandshakeIsSmall(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	defer srv.Close(t.Context())
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
	kept := srv.handshake(r)
	kit.Check(t, kept.text == r.RemoteAddr && unsafe.StringData(kept.text) != unsafe.StringData(r.RemoteAddr),
		"nothing of the application's was sent, and %q is kept, or a part of the request, and with it the whole", kept.text)
}
