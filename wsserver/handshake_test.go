package wsserver

import (
	"crypto/tls"
	"net/http/httptest"
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

// TestHandshakeIsSmall: a connection does not hold on to the memory of its request.
func TestHandshakeIsSmall(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	defer srv.Close(t.Context())
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
	kept := srv.handshake(r)
	kit.Check(t, unsafe.StringData(kept.remote) != unsafe.StringData(r.RemoteAddr),
		"a part of the request is kept, and with it the whole")
	kit.Check(t, kept.header == "" && kept.query == "",
		"nothing of the application's was sent, and %q and %q are kept", kept.header, kept.query)
}
