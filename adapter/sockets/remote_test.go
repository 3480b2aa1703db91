package sockets_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/test/kit"
)

// TestRemoteSocket: what is fetched says what the socket's node says of it, and can be acted on,
// here and there.
func TestRemoteSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{})
		fetched, err := w.ns.To(w.id("a"), w.id("d")).FetchSockets(t.Context())
		if err != nil || len(fetched) != 2 || fetched[0].ID != w.id("a") {
			t.Fatalf("fetched are %v, %v, want a and d", fetched, err)
		}
		for i, s := range fetched {
			name := w.names[s.ID]
			var data string
			switch err := s.DecodeData(&data); {
			case err != nil, data != name, s.Handshake.RemoteAddr != name, s.Transport != "polling",
				s.Node != w.node(name), s.ID != w.id([]string{"a", "d"}[i]):
				t.Errorf("%s: got %+v, %v", name, s, err)
			}
			err := errors.Join(s.Join(t.Context(), "new", "newer"), s.Leave(t.Context(), "new"))
			if err != nil || w.in("newer") != name || w.in("new") != "" {
				t.Errorf("%s: %v, in the rooms are %q and %q", name, err, w.in("newer"), w.in("new"))
			}
			r, err := s.EmitWithAck(t.Context(), "q")
			if err := errors.Join(err, r.Decode(&data)); err != nil || data != name {
				t.Errorf("%s: answered %q, %v", name, data, err)
			}
			kit.OK(t, errors.Join(s.Emit(t.Context(), "e"), s.Disconnect(t.Context(), false)))
			w.want(t, name, `2["q"] ack, 2["e"], close false`)
			if _, err := s.EmitWithAck(t.Context(), "q"); !errors.Is(err, cluster.ErrMember) {
				t.Errorf("%s, who has gone: got %v, want ErrMember", name, err)
			}
			err = errors.Join(s.Emit(t.Context(), "e"), s.Join(t.Context(), "x"), s.Leave(t.Context(), "x"),
				s.Disconnect(t.Context(), true))
			kit.OK(t, err, name, "who has gone")
		}
	})
}

// describing is a member that says something else of itself.
type describing struct {
	member
	says string
}

func (m *describing) Describe() []byte { return []byte(m.says) }

// TestDescription: of what another version of a node says, the fields are taken that are
// understood. Who says nothing is no socket.
func TestDescription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := cluster.NewHub(cluster.HubConfig{})
		defer h.Close(t.Context())
		rooms := h.Rooms("/", frame)
		ns := sockets.NewNamespace("/", rooms, sockets.NamespaceConfig{})
		for _, test := range []struct {
			says                  string
			addr, transport, data string
		}{
			{says: ""},
			{says: `{"handshake":{"remoteAddr":"x"},"data":1}`, addr: "x", data: "1"},
			{says: `{"transport":"websocket","more":{}}`, transport: "websocket"},
			{says: `[]`},
			{says: `garbage`},
		} {
			id := h.NewID()
			kit.OK(t, rooms.Add(t.Context(), id, &describing{says: test.says}))
			fetched, err := ns.All().FetchSockets(t.Context())
			if err != nil || len(fetched) != min(1, len(test.says)) {
				t.Errorf("%q: fetched are %+v, %v", test.says, fetched, err)
			}
			for _, s := range fetched {
				if s.ID != id || s.Handshake.RemoteAddr != test.addr || s.Transport != test.transport || string(s.Data) != test.data {
					t.Errorf("%q: fetched is %+v", test.says, s)
				}
			}
			rooms.Remove(id)
		}
	})
}

// TestRemoteSocketJSON: a socket that was fetched is its fields in JSON, which nobody can act on.
func TestRemoteSocketJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{})
		fetched, err := w.ns.To("x").Except("y").FetchSockets(t.Context())
		if err != nil || len(fetched) != 1 {
			t.Fatalf("fetched are %v, %v, want a", fetched, err)
		}
		b, err := json.Marshal(fetched[0])
		kit.OK(t, err)
		var s sockets.RemoteSocket
		kit.OK(t, json.Unmarshal(b, &s))
		for i := range reflect.TypeFor[sockets.RemoteSocket]().NumField() {
			field := reflect.TypeFor[sockets.RemoteSocket]().Field(i)
			got, want := reflect.ValueOf(s).Field(i), reflect.ValueOf(fetched[0]).Field(i)
			if field.IsExported() && !reflect.DeepEqual(got.Interface(), want.Interface()) {
				t.Errorf("%s: got %v, want %v of %s", field.Name, got, want, b)
			}
		}
		for _, s := range []sockets.RemoteSocket{s, {}} {
			for call, err := range map[string]error{
				"Emit":        s.Emit(t.Context(), "e"),
				"EmitWithAck": errorOf(s.EmitWithAck(t.Context(), "q")),
				"Join":        s.Join(t.Context(), "x"),
				"Leave":       s.Leave(t.Context(), "x"),
				"Disconnect":  s.Disconnect(t.Context(), true),
			} {
				kit.ErrorIs(t, err, sockets.ErrNoNamespace, call, "of a socket that was not fetched")
			}
		}
		kit.Equal(t, (sockets.RemoteSocket{}).DecodeData(new(any)), sockets.ErrNoData)
		if err := fetched[0].DecodeData(new(int)); err == nil {
			t.Error("DecodeData of a string into an int: got no error")
		}
	})
}

// TestResponse: the arguments of an answer, by their number, into types, and without.
func TestResponse(t *testing.T) {
	args, err := payload.Limits.Marshal(1, []byte("two"), map[string]any{"three": []byte{3}})
	kit.OK(t, err)
	r := sockets.NewResponse(args)
	var one int
	var three struct{ Three []byte }
	if err := r.Decode(&one, nil, &three); err != nil || one != 1 || string(three.Three) != "\x03" || r.Len() != 3 {
		t.Errorf("Decode: got %d, %v, %v of %d", one, three, err, r.Len())
	}
	values, err := r.Args()
	want := []any{1.0, []byte("two"), map[string]any{"three": []byte{3}}}
	if err != nil || !reflect.DeepEqual(values, want) {
		t.Errorf("Args: got %v, %v, want %v", values, err, want)
	}
	if r.Decode(nil, nil, nil, nil) == nil || r.Decode(&three) == nil {
		t.Error("too few arguments, or one that does not fit: got no error")
	}
	if r = (sockets.Response{}); r.Len() != 0 || r.Decode() != nil || r.Decode(&one) == nil {
		t.Errorf("none: %d arguments", r.Len())
	}
}
