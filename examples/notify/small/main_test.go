package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

func TestNotify(t *testing.T) {
	const secret, apiToken = "0123456789abcdef0123456789abcdef", "api"
	memory := new(adapter.Memory)
	var handlers []http.Handler
	var servers []*wsserver.Server
	for range 2 {
		srv := wsserver.New(wsserver.Config{Adapter: memory, Logger: kit.Silent})
		t.Cleanup(func() { kit.Close(t, srv) })
		if err := srv.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		servers, handlers = append(servers, srv), append(handlers, handler(srv, secret, apiToken))
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: "ann", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	dial := func(i int) *wstest.Client {
		c := wstest.Dial(t, handlers[i], wstest.Config{Auth: map[string]string{"token": token}})
		kit.Eventually(t, "the device is in its user's room", func() bool {
			s, ok := servers[i].Of("/").Socket(c.ID())
			return ok && len(s.Rooms()) == 2
		})
		return c
	}
	laptop, phone := dial(0), dial(1)
	for _, auth := range []any{nil, map[string]string{"token": token + "x"}} {
		if c, refusal := wstest.Try(t, handlers[0], wstest.Config{Auth: auth}); c != nil || !strings.Contains(string(refusal), "no valid token") {
			t.Errorf("auth %v: got %s, want a refusal", auth, refusal)
		}
	}
	for _, c := range []struct {
		path, token, body string
		status            int
		answer            string
	}{
		{"/notify/ann", apiToken, `{"title":"Hello","text":"You have mail."}`, 200, `{"devices":2}`},
		{"/notify/bob", apiToken, `{"title":"Hello"}`, 200, `{"devices":0}`},
		{"/notify/ann", "x", `{"title":"Hello"}`, 401, "no valid token"},
		{"/notify/ann", apiToken, `{"title"`, 400, "unexpected EOF"},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+c.token)
		w := httptest.NewRecorder()
		handlers[1].ServeHTTP(w, r)
		if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.answer {
			t.Errorf("POST %s %s: got %d %s, want %d %s", c.path, c.body, w.Code, w.Body, c.status, c.answer)
		}
	}
	for _, d := range []*wstest.Client{laptop, phone} {
		if got := d.Next("").String(); got != `["notification","Hello","You have mail."]` {
			t.Errorf("got %s", got)
		}
	}
}
