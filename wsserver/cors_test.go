package wsserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestCORS: the answers that let pages of other origins in, to errors too, and the preflight before them.
func TestCORS(t *testing.T) {
	const app, other = "https://app.example", "https://other.example"
	some := &wsserver.CORS{Origins: []string{app, "https://*.app.example"}, Credentials: true, MaxAge: time.Hour}
	all := &wsserver.CORS{Origins: []string{"*"}}
	const path = "/socket.io/?EIO=4&transport=polling"
	for _, test := range []struct {
		name   string
		cors   *wsserver.CORS
		method string
		target string
		origin string
		status int
		header map[string]string // "" stands for none
	}{
		{"listed", some, "GET", path, app, 200, map[string]string{
			"Access-Control-Allow-Origin": app, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}},
		{"listed by its suffix", some, "GET", path, "https://eu.app.example", 200, map[string]string{
			"Access-Control-Allow-Origin": "https://eu.app.example"}},
		{"not listed", some, "GET", path, other, 403, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		{"a suffix that is none", some, "GET", path, "https://evil-app.example", 403, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"the host's own", some, "GET", path, "http://chat.example", 200, nil},
		{"listed, an error", some, "GET", "/socket.io/?EIO=3&transport=polling", app, 400, map[string]string{"Access-Control-Allow-Origin": app}},
		{"listed, an unknown session", some, "POST", path + "&sid=A", app, 400, map[string]string{"Access-Control-Allow-Origin": app}},
		{"preflight", some, "OPTIONS", path, app, 204, map[string]string{
			"Access-Control-Allow-Origin": app, "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "POST",
			"Access-Control-Allow-Headers": "x-mine", "Access-Control-Max-Age": "3600",
			"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}},
		{"preflight, not listed", some, "OPTIONS", path, other, 204, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"any", all, "GET", path, other, 200, map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": ""}},
		{"any, for a client that names no origin", all, "GET", path, "", 200, map[string]string{"Access-Control-Allow-Origin": "*"}},
		{"listed, and a client that names no origin", some, "GET", path, "", 200, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"none", nil, "GET", path, other, 403, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"preflight of none", nil, "OPTIONS", path, other, 400, map[string]string{"Access-Control-Allow-Origin": ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{CORS: test.cors}})
			r := httptest.NewRequest(test.method, "http://chat.example"+test.target, nil)
			r.Header.Set("Origin", test.origin)
			if test.method == "OPTIONS" {
				r.Header.Set("Access-Control-Request-Method", "POST")
				r.Header.Set("Access-Control-Request-Headers", "x-mine")
			}
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			kit.Check(t, w.Code == test.status, "status: got %d, %s, want %d", w.Code, w.Body, test.status)
			for name, want := range test.header {
				kit.Want(t, strings.Join(w.Header().Values(name), ", "), want, name)
			}
		})
	}
}

// TestCookie: it comes with the first answer to a client that polls, and with no other.
func TestCookie(t *testing.T) {
	for _, test := range []struct {
		name   string
		cookie *http.Cookie
		want   string
	}{
		{"none", nil, ""},
		{"by default", new(http.Cookie), "io=SID; Path=/; HttpOnly; SameSite=Lax"},
		{"its name alone", &http.Cookie{Name: "node"}, "node=SID; Path=/; HttpOnly; SameSite=Lax"},
		{"a name and an age", &http.Cookie{Name: "node", MaxAge: 60}, "node=SID; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"},
		{"a path alone", &http.Cookie{Path: "/chat/"}, "io=SID; Path=/chat/; HttpOnly; SameSite=Lax"},
		{"a value, which is the server's", &http.Cookie{Name: "node", Value: "mine"}, "node=SID; Path=/; HttpOnly; SameSite=Lax"},
		{"chosen", &http.Cookie{Name: "node", Path: "/chat/", Domain: "chat.example", Secure: true, MaxAge: 60, SameSite: http.SameSiteNoneMode},
			"node=SID; Path=/chat/; Domain=chat.example; Max-Age=60; HttpOnly; Secure; SameSite=None"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{HTTP: wsserver.HTTPConfig{Cookie: test.cookie}})
			hs := httptest.NewServer(srv)
			defer hs.Close()
			get := func(query string) (*http.Response, string) {
				answer := kit.Must(http.Get(hs.URL + "/socket.io/?EIO=4&transport=polling" + query))(t)
				defer answer.Body.Close()
				buf := make([]byte, 512)
				n, _ := answer.Body.Read(buf)
				return answer, string(buf[:n])
			}
			answer, body := get("")
			_, rest, _ := strings.Cut(body, `"sid":"`)
			sid, _, _ := strings.Cut(rest, `"`)
			if got := strings.Join(answer.Header.Values("Set-Cookie"), "; "); strings.ReplaceAll(got, sid, "SID") != test.want {
				t.Errorf("Set-Cookie: got %q, want %q", got, test.want)
			}
			post(t, hs.URL, sid, "40")
			if answer, body := get("&sid=" + sid); answer.Header.Get("Set-Cookie") != "" || !strings.HasPrefix(body, "40{") {
				t.Errorf("the next answer: got %q with the cookie %q, want none", body, answer.Header.Get("Set-Cookie"))
			}
		})
	}
}
