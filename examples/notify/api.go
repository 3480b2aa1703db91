package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxBody  = 16 << 10 // of a request, in bytes
	maxTitle = 200      // in characters
	maxText  = 2000
	maxKey   = 255 // bytes of an Idempotency-Key
)

// An api is what a backend uses to notify people.
type api struct {
	token   string // that requests must have
	devices *devices
}

// handler serves
//
//	POST /notify/user/{id}
//	POST /notify/group/{name}
//	POST /notify/all
//
// with a body {"title", "text"}. The answer is a delivery, or {"error"}.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /notify/user/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		a.post(w, r, userRoom(id), checkName("a user's id", id))
	})
	mux.HandleFunc("POST /notify/group/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		a.post(w, r, groupRoom(name), checkName("a group's name", name))
	})
	mux.HandleFunc("POST /notify/all", func(w http.ResponseWriter, r *http.Request) {
		a.post(w, r, everyone, nil)
	})
	return mux
}

// post sends the notification in a request to a room, unless the room's name is wrong.
func (a *api) post(w http.ResponseWriter, r *http.Request, room string, wrong error) {
	if !a.allowed(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		fail(w, http.StatusUnauthorized, "want the header Authorization: Bearer, with the API's token")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a request has at most %d bytes", maxBody))
		return
	}
	n, decodeErr := decode(body)
	key := r.Header.Get("Idempotency-Key")
	if err := errors.Join(err, wrong, decodeErr, checkKey(key)); err != nil {
		fail(w, http.StatusBadRequest, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	n.Room, n.At = room, time.Now().UnixMilli()
	if key == "" {
		n.ID = rand.Text()
		got, err := a.devices.send(r.Context(), n)
		reply(w, got, err)
		return
	}
	n.ID = hash(key) // devices drop the double, should two nodes send it at the same time
	got, again, err := a.devices.sendOnce(r.Context(), key, hash(room, string(body)), n)
	if again {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	reply(w, got, err)
}

// allowed compares hashes, so that the time that it takes tells nothing about the token.
func (a *api) allowed(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(a.token))
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// decode reads a request's body, and nothing but that: a name that is misspelt is not lost.
func decode(body []byte) (n notification, err error) {
	var in struct{ Title, Text string }
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return n, fmt.Errorf(`want JSON such as {"title":"Hello","text":"You have mail."}: %w`, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return n, errors.New("want nothing behind the JSON object")
	}
	n.Title, n.Text = strings.TrimSpace(in.Title), strings.TrimSpace(in.Text)
	if l := utf8.RuneCountInString(n.Title); l < 1 || l > maxTitle {
		err = errors.Join(err, fmt.Errorf("a title has 1 to %d characters, this one has %d", maxTitle, l))
	}
	if l := utf8.RuneCountInString(n.Text); l > maxText {
		err = errors.Join(err, fmt.Errorf("a text has at most %d characters, this one has %d", maxText, l))
	}
	return n, err
}

func checkKey(key string) error {
	odd := func(c rune) bool { return c > unicode.MaxASCII || !unicode.IsPrint(c) }
	if len(key) > maxKey || strings.ContainsFunc(key, odd) {
		return fmt.Errorf("an Idempotency-Key has at most %d printable ASCII characters", maxKey)
	}
	return nil
}

// hash is different for different lists of parts.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d %s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func reply(w http.ResponseWriter, got delivery, err error) {
	switch {
	case errors.Is(err, errKeyReused):
		fail(w, http.StatusUnprocessableEntity, err.Error())
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "not sent to all nodes, try again: "+err.Error())
	default:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(got) // an error means that nobody listens any more
	}
}

func fail(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": why})
}
