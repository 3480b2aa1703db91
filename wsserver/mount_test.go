package wsserver_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestMounts: a server works wherever an http.Handler does, beside a program's own routes, with both transports and the change from one
// to the other.
func TestMounts(t *testing.T) {
	hello := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello from "+r.URL.Path) }
	mux := func(srv *wsserver.Server) http.Handler {
		m := http.NewServeMux()
		m.Handle("/socket.io/", srv)
		m.HandleFunc("GET /hello", hello)
		return m
	}
	quiet := log.New(io.Discard, "", 0)
	for _, test := range []struct {
		name  string
		serve func(*testing.T, *wsserver.Server) *httptest.Server
	}{
		{"http.ServeMux", func(t *testing.T, srv *wsserver.Server) *httptest.Server {
			return httptest.NewServer(mux(srv))
		}},
		{"chi, behind its middlewares", func(t *testing.T, srv *wsserver.Server) *httptest.Server {
			r := chi.NewRouter()
			r.Use(middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: quiet}), middleware.Recoverer)
			r.Get("/hello", hello)
			r.Mount("/socket.io/", srv)
			return httptest.NewServer(r)
		}},
		{"TLS", func(t *testing.T, srv *wsserver.Server) *httptest.Server {
			return httptest.NewTLSServer(mux(srv))
		}},
		{"TLS with HTTP/2 for the requests that poll", func(t *testing.T, srv *wsserver.Server) *httptest.Server {
			hs := httptest.NewUnstartedServer(mux(srv))
			hs.EnableHTTP2 = true
			hs.StartTLS()
			return hs
		}},
		{"TLS that ends at a proxy", func(t *testing.T, srv *wsserver.Server) *httptest.Server {
			behind := httptest.NewServer(mux(srv))
			t.Cleanup(behind.Close)
			target := kit.Must(url.Parse(behind.URL))(t)
			proxy := httputil.NewSingleHostReverseProxy(target)
			proxy.ErrorLog = quiet
			return httptest.NewTLSServer(proxy)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				s.On("echo", func(ctx context.Context, e *wsserver.Event) error {
					var text string
					if err := e.Decode(&text); err != nil {
						return err
					}
					return s.Emit(ctx, "echo", text)
				})
				return nil
			})
			hs := test.serve(t, srv)
			t.Cleanup(hs.Close)
			request := func(method, path, body string) string {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), method, hs.URL+path, strings.NewReader(body))
				kit.OK(t, err)
				answer, err := hs.Client().Do(r)
				kit.OK(t, err)
				defer answer.Body.Close()
				kit.Want(t, answer.ProtoMajor, 1+strings.Count(test.name, "HTTP/2"),
					"the answer is HTTP/")
				text, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != http.StatusOK {
					t.Fatalf("%s %s: %s, %q, %v", method, path, answer.Status, text, err)
				}
				return string(text)
			}
			kit.Want(t, request("GET", "/hello", ""), "hello from /hello", "the program's own route")

			const path = "/socket.io/?EIO=4&transport=polling"
			_, rest, _ := strings.Cut(request("GET", path, ""), `"sid":"`)
			sid, _, _ := strings.Cut(rest, `"`)
			session := path + "&sid=" + sid
			request("POST", session, "40")
			if got := request("GET", session, ""); !strings.HasPrefix(got, "40{") {
				t.Errorf("CONNECT: got %q", got)
			}
			request("POST", session, `42["echo","over HTTP"]`)
			kit.Want(t, request("GET", session, ""), `42["echo","over HTTP"]`, "polling")
			dial := func() net.Conn {
				t.Helper()
				nc := kit.Must(net.Dial("tcp", hs.Listener.Addr().String()))(t)
				if strings.HasPrefix(hs.URL, "https") {
					cfg := hs.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
					cfg.ServerName, cfg.NextProtos = "example.com", []string{"http/1.1"}
					nc = tls.Client(nc, cfg)
				}
				return nc
			}
			raw := wsrig.New(t, dial(), wsrig.Config{Query: url.Values{"sid": {sid}}})
			raw.Send("2probe")
			kit.Want(t, raw.Read(), "3probe", "probe")
			raw.Send("5", `42["echo","upgraded"]`)
			kit.Want(t, raw.Read(), `42["echo","upgraded"]`, "after the upgrade")
			c := wstest.New(t, dial(), wstest.Config{})
			c.Emit("echo", "WebSocket only")
			kit.Want(t, c.Next("echo").String(), `["echo","WebSocket only"]`, "WebSocket")
		})
	}
}

// A server is a handler of its path, beside the program's own routes, in a router such as chi as in http.ServeMux.
func ExampleServer_ServeHTTP() {
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())

	r := chi.NewRouter()
	r.Get("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") })
	r.Mount("/socket.io/", srv)

	for _, path := range []string{"/health", "/socket.io/?EIO=4&transport=telegraph"} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 well
	// 400 {"code":0,"message":"Transport unknown"}
}
