// Small is a notification server in about 75 lines: users have signed tokens, a user's devices
// share a room, and a backend posts to them. One node in memory or many over NATS is a matter of
// settings:
//
//	go run ./examples/notify/small -secret of-the-tokens-as-long-as-a-hash -api-token of-the-backend
//	curl -H 'Authorization: Bearer of-the-backend' -d '{"title":"Hello"}' localhost:8080/notify/ann
package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/golang-jwt/jwt/v5"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/wsserver"
)

func main() {
	var own struct {
		Secret   string `key:"secret" secret:"true" required:"true" help:"signs the users' tokens"`
		APIToken string `key:"api-token" secret:"true" required:"true" help:"what the backend has to send"`
	}
	cfg := config.MustLoad(config.Program{Name: "small", Args: os.Args[1:], Own: &own,
		Server: wsserver.Config{Recovery: new(wsserver.Recovery)}}) // devices miss nothing while they are away
	srv := wsserver.New(cfg.Server)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := cfg.Run(ctx, srv, handler(srv, own.Secret, own.APIToken)); err != nil {
		log.Fatal(err)
	}
}

func handler(srv *wsserver.Server, secret, apiToken string) http.Handler {
	srv.Use(admit(secret))
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		user, _ := wsserver.DataOf[string](s)
		return s.Join(ctx, "user:"+user)
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("POST /notify/{user}", notify(srv, apiToken))
	return mux
}

// admit lets those in whose auth is {token: a JSON Web Token with sub and exp}.
func admit(secret string) func(context.Context, *wsserver.Socket) error {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	return func(ctx context.Context, s *wsserver.Socket) error {
		var auth struct{ Token string }
		var claims jwt.RegisteredClaims
		err := s.DecodeAuth(&auth)
		if err == nil {
			key := func(*jwt.Token) (any, error) { return []byte(secret), nil }
			_, err = parser.ParseWithClaims(auth.Token, &claims, key)
		}
		if err != nil || claims.Subject == "" {
			return &wsserver.ConnectError{Message: "no valid token"}
		}
		s.SetData(claims.Subject)
		return nil
	}
}

// notify sends what is posted to the user's devices, on all nodes, and answers how many have it.
func notify(srv *wsserver.Server, apiToken string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		got, want := []byte(r.Header.Get("Authorization")), []byte("Bearer "+apiToken)
		if subtle.ConstantTimeCompare(got, want) != 1 {
			http.Error(w, "no valid token", http.StatusUnauthorized)
			return
		}
		var n struct{ Title, Text string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		user := srv.To("user:" + r.PathValue("user"))
		devices, err := user.EmitCounted(r.Context(), "notification", n.Title, n.Text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		json.NewEncoder(w).Encode(map[string]int{"devices": devices})
	}
}
