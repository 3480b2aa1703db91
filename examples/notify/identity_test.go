package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// knock connects with an auth, and returns the refusal: its code, and the message. Empty means
// none.
func knock(t *testing.T, srv *wsserver.Server, auth any) (code, message string) {
	t.Helper()
	c, refusal := wstest.Try(t, srv, wstest.Config{Auth: auth})
	if c != nil {
		c.Close()
		return "", ""
	}
	var r struct {
		Message string
		Data    struct{ Code string }
	}
	if err := json.Unmarshal(refusal, &r); err != nil {
		t.Fatalf("refusal %s: %v", refusal, err)
	}
	return r.Data.Code, r.Message
}

// serve returns a server whose devices have tokens as cfg says.
func serve(t *testing.T, own settings) *wsserver.Server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	id, err := newIdentity(ctx, own)
	if err != nil {
		t.Fatal(err)
	}
	srv := wsserver.New(wsserver.Config{Logger: kit.Silent})
	t.Cleanup(func() { kit.Close(t, srv) })
	newDevices(srv, id, "http://here", kit.Silent)
	return srv
}

// good returns the claims of a token that is right.
func good() jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"sub": "ann", "aud": "notify", "iss": "sign-in", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"groups": []string{"staff"},
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokens(t *testing.T) {
	own := testSettings
	own.Issuer = "sign-in"
	srv := serve(t, own)
	with := func(name string, value any) jwt.MapClaims {
		c := good()
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return c
	}
	hs256 := func(c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, []byte(own.Secret), "", c) }
	parts := strings.Split(hs256(good()), ".")
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, c := range []struct{ name, token, code string }{
		{"good", hs256(good()), ""},
		{"audience in a list", hs256(with("aud", []string{"other", "notify"})), ""},
		{"no groups", hs256(with("groups", nil)), ""},
		{"empty", "", "token_missing"},
		{"not a token", "ann", "token_invalid"},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", good()), "token_invalid"},
		{"no signature", parts[0] + "." + parts[1] + ".", "token_invalid"},
		{"another's claims", parts[0] + "." + strings.Split(hs256(with("sub", "bob")), ".")[1] + "." + parts[2], "token_invalid"},
		{"wrong key", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), "", good()), "token_invalid"},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(own.Secret), "", good()), "token_invalid"},
		{"RS256", sign(t, jwt.SigningMethodRS256, private, "", good()), "token_invalid"},
		{"expired", hs256(with("exp", now.Add(-time.Minute).Unix())), "token_expired"},
		{"for ever", hs256(with("exp", nil)), "token_invalid"},
		{"too early", hs256(with("nbf", now.Add(time.Hour).Unix())), "token_invalid"},
		{"from the future", hs256(with("iat", now.Add(time.Hour).Unix())), "token_invalid"},
		{"other audience", hs256(with("aud", "payments")), "token_invalid"},
		{"no audience", hs256(with("aud", nil)), "token_invalid"},
		{"other issuer", hs256(with("iss", "elsewhere")), "token_invalid"},
		{"no issuer", hs256(with("iss", nil)), "token_invalid"},
		{"nobody", hs256(with("sub", nil)), "token_invalid"},
		{"empty user", hs256(with("sub", "")), "token_invalid"},
		{"odd user", hs256(with("sub", "a\x00b")), "token_invalid"},
		{"long user", hs256(with("sub", strings.Repeat("u", 65))), "token_invalid"},
		{"a number for a user", hs256(with("sub", 7)), "token_invalid"},
		{"odd group", hs256(with("groups", []string{"staff", ""})), "token_invalid"},
		{"too many groups", hs256(with("groups", strings.Split(strings.Repeat("g ", 33), " "))), "token_invalid"},
		{"expired and wrong key", sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), "", with("exp", 1)), "token_invalid"},
	} {
		code, message := knock(t, srv, map[string]string{"token": c.token})
		if code != c.code || (message == "") != (c.code == "") {
			t.Errorf("%s: got %q %q, want %q", c.name, code, message, c.code)
		}
	}
	for _, auth := range []any{nil, map[string]any{"token": 7}, map[string]any{"Token": nil}} {
		if code, _ := knock(t, srv, auth); code != "token_missing" {
			t.Errorf("auth %v: got %q, want token_missing", auth, code)
		}
	}
}

// A device goes when its token expires, and is told why when it comes back.
func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, testSettings)
		token, err := token(testSettings, "ann", nil, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		auth := map[string]string{"token": token}
		c := wstest.Dial(t, srv, wstest.Config{Auth: auth, Timeout: 2 * time.Hour})
		begin := time.Now()
		time.Sleep(59 * time.Minute)
		select {
		case <-c.Disconnected():
			t.Fatalf("disconnected after %v", time.Since(begin))
		default:
		}
		select {
		case <-c.Disconnected():
		case <-time.After(time.Hour):
		}
		if d := time.Since(begin); d > time.Hour {
			t.Errorf("disconnected after %v, want an hour", d)
		}
		if code, _ := knock(t, srv, auth); code != "token_expired" {
			t.Errorf("again: got %q, want token_expired", code)
		}
	})
}

// A keyring is a JSON Web Key Set that changes.
type keyring struct{ json atomic.Value }

func (k *keyring) ServeHTTP(w http.ResponseWriter, r *http.Request) { w.Write(k.json.Load().([]byte)) }

// set makes the key set consist of these keys, by id.
func (k *keyring) set(t *testing.T, keys map[string]any) {
	t.Helper()
	store := jwkset.NewMemoryStorage()
	for id, key := range keys {
		options := jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id}}
		_, symmetric := key.([]byte)
		options.Marshal.Private = symmetric
		jwk, err := jwkset.NewJWKFromKey(key, options)
		if err == nil {
			err = store.KeyWrite(t.Context(), jwk)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := store.JSONPrivate(t.Context()) // of public keys, and of secrets
	if err != nil {
		t.Fatal(err)
	}
	k.json.Store([]byte(text))
}

// A new key works at once and an old one no more, from a URL and from a file.
func TestKeyRotation(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("k", 32))
	tokens := map[string]string{
		"ec":     sign(t, jwt.SigningMethodES256, ec, "ec", good()),
		"ed":     sign(t, jwt.SigningMethodEdDSA, ed, "ed", good()),
		"rsa":    sign(t, jwt.SigningMethodRS256, private, "rsa", good()),
		"no kid": sign(t, jwt.SigningMethodES256, ec, "", good()),
		"secret": sign(t, jwt.SigningMethodHS256, secret, "secret", good()),
		// The public key, which everybody has, taken for a secret.
		"confused": sign(t, jwt.SigningMethodHS256, pemOf(t, &private.PublicKey), "rsa", good()),
		"none":     sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "rsa", good()),
		"another":  sign(t, jwt.SigningMethodES256, ec, "rsa", good()),
	}
	before := map[string]any{"ec": &ec.PublicKey, "secret": secret}
	after := map[string]any{"ed": public, "rsa": &private.PublicKey}

	var keys keyring
	keys.set(t, before)
	web := httptest.NewServer(&keys)
	defer web.Close()
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func() {
		if err := os.WriteFile(path, keys.json.Load().([]byte), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	own := testSettings
	own.Secret = ""
	servers := make(map[string]*wsserver.Server)
	for _, where := range []string{web.URL, path} {
		own.JWKS = where
		servers[where] = serve(t, own)
	}
	check := func(when string, in ...string) {
		t.Helper()
		for where, srv := range servers {
			accepted := make(map[string]bool)
			for name, token := range tokens {
				code, _ := knock(t, srv, map[string]string{"token": token})
				accepted[name] = code == ""
			}
			for name, ok := range accepted {
				if want := strings.Contains(strings.Join(in, ","), name); ok != want {
					t.Errorf("%s, %s: %s accepted: %v, want %v", when, where, name, ok, want)
				}
			}
		}
	}
	// Of tokens with an unknown key a few a minute make the set be read again: begin with those
	// that matter.
	for where, srv := range servers {
		if code, _ := knock(t, srv, map[string]string{"token": tokens["ec"]}); code != "" {
			t.Errorf("before, %s: got %q", where, code)
		}
	}
	keys.set(t, after)
	write()
	for where, srv := range servers {
		if code, _ := knock(t, srv, map[string]string{"token": tokens["ed"]}); code != "" {
			t.Errorf("a new key, %s: got %q", where, code)
		}
	}
	check("after", "ed", "rsa")
}

func pemOf(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// What cannot be read at the start is an error then.
func TestNoKeys(t *testing.T) {
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte("-----BEGIN PUBLIC KEY-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{broken.URL, empty, filepath.Join(t.TempDir(), "missing.json"), "https://%"} {
		own := testSettings
		own.JWKS = where
		if _, err := newIdentity(t.Context(), own); err == nil || !strings.Contains(err.Error(), "jwks: no keys there") {
			t.Errorf("%s: got %v, want a word on -jwks", where, err)
		}
	}
}
