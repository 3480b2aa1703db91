package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/wsserver"
)

const (
	maxIDLength = 64 // of a user's id and a group's name, in characters
	maxGroups   = 32 // that a user is in
)

// Rooms of devices.
const everyone = "everyone"

func userRoom(id string) string    { return "user:" + id }
func groupRoom(name string) string { return "group:" + name }

// A user is who a device belongs to. It is the data of its socket.
type user struct {
	ID     string    `json:"id"`
	Groups []string  `json:"groups,omitempty"`
	Until  time.Time `json:"until"` // when the token expires
}

func (u user) rooms() []string {
	rooms := []string{userRoom(u.ID), everyone}
	for _, g := range u.Groups {
		rooms = append(rooms, groupRoom(g))
	}
	return rooms
}

// claims are what a token says: the user is its subject ("sub").
type claims struct {
	jwt.RegisteredClaims
	Groups []string `json:"groups,omitempty"`
}

// An identity finds out who a device belongs to, by a signed token.
type identity struct {
	keys   jwt.Keyfunc
	parser *jwt.Parser
}

// newIdentity trusts tokens that are signed with own.Secret, or with one of the keys of own.JWKS.
// ctx ends the watch over these.
//
// An algorithm belongs to a kind of key: a public key must never be taken for a shared secret. So
// either kind has its own list.
func newIdentity(ctx context.Context, own settings) (*identity, error) {
	var id identity
	methods := []string{"HS256"}
	if own.JWKS == "" {
		id.keys = func(*jwt.Token) (any, error) { return []byte(own.Secret), nil }
	} else {
		methods = []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
		}
		keys, err := keySet(ctx, own.JWKS)
		if err != nil {
			return nil, usageError{&config.KeyError{
				Key: "jwks", Problem: fmt.Sprintf("no keys there: %v", err),
				Want: "the URL or path of a JSON Web Key Set", Err: err,
			}}
		}
		id.keys = keys.Keyfunc
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithAudience(own.Audience),
	}
	if own.Issuer != "" {
		options = append(options, jwt.WithIssuer(own.Issuer))
	}
	id.parser = jwt.NewParser(options...)
	return &id, nil
}

// keySet is the JSON Web Key Set at a URL or in a file. It is read again every hour, and when a
// token names a key that is not in it, up to once in ten seconds: a new key works at once.
func keySet(ctx context.Context, where string) (keyfunc.Keyfunc, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	if !strings.HasPrefix(where, "https://") && !strings.HasPrefix(where, "http://") {
		client.Transport = file(where)
		where = "file:///" // the transport knows which
	}
	fail := false // what cannot be had at the start is an error
	return keyfunc.NewDefaultOverrideCtx(ctx, []string{where}, keyfunc.Override{
		Client:                    client,
		NoErrorReturnFirstHTTPReq: &fail,
		RateLimitWaitMax:          time.Second,
		RefreshUnknownKID:         rate.NewLimiter(rate.Every(10*time.Second), 3),
	})
}

// A file answers every request with its content.
type file string

func (f file) RoundTrip(r *http.Request) (*http.Response, error) {
	content, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: content, Request: r}, nil
}

// admit lets devices with a good token in, and tells the others why not.
func (id *identity) admit(ctx context.Context, s *wsserver.Socket) error {
	var auth struct{ Token string }
	if err := s.DecodeAuth(&auth); err != nil || auth.Token == "" {
		return refuse("token_missing", "There is no token: connect with auth {token}.")
	}
	u, err := id.user(auth.Token)
	if errors.Is(err, jwt.ErrTokenExpired) {
		return refuse("token_expired", "The token has expired.")
	}
	if err != nil {
		return refuse("token_invalid", "The token is not valid here.") // why helps only who forges one
	}
	s.SetData(u)
	return nil
}

func refuse(code, message string) error {
	return &wsserver.ConnectError{Message: message, Data: map[string]string{"code": code}}
}

// user returns whom a token names.
func (id *identity) user(token string) (user, error) {
	var c claims
	if _, err := id.parser.ParseWithClaims(token, &c, id.keys); err != nil {
		return user{}, err
	}
	err := checkName("sub", c.Subject)
	for _, g := range c.Groups {
		err = errors.Join(err, checkName("a group", g))
	}
	if len(c.Groups) > maxGroups {
		err = errors.Join(err, fmt.Errorf("a user is in at most %d groups, this one in %d", maxGroups, len(c.Groups)))
	}
	return user{c.Subject, c.Groups, c.ExpiresAt.Time}, err
}

// checkName checks a user's id or a group's name.
func checkName(what, name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxIDLength {
		return fmt.Errorf("%s has 1 to %d characters, this one has %d", what, maxIDLength, n)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%s has no control characters", what)
	}
	return nil
}

// token signs a token for a user, as the program does that signs users in.
func token(own settings, id string, groups []string, valid time.Duration) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   id,
			Audience:  jwt.ClaimStrings{own.Audience},
			Issuer:    own.Issuer,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(valid)),
		},
		Groups: groups,
	}).SignedString([]byte(own.Secret))
}
