package service_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/servers"
)

// TestDiscovery: the service is found as any service of NATS, with all that is needed to use it.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	other := start(t, service.Config{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "a.b", Prefix: "my.app", Logger: kit.Silent})})
	kit.Equal(t, other.Subject(), "my.app.service.ra=2Eb", "the subject")
	clusters := make(map[string]string)
	for _, s := range discover(t, w.nc, "PING", 2) {
		clusters[s.Metadata["cluster"]] = s.ID
		if s.Name != "belfry" || s.Version != service.Version || s.Type != "io.nats.micro.v1.ping_response" || s.Metadata["node"] == "" {
			t.Errorf("PING: %+v", s)
		}
	}
	if len(clusters) != 2 || clusters["chat"] == "" || clusters["a.b"] == "" {
		t.Fatalf("found %v", clusters)
	}
	info := discover(t, w.nc, "INFO.belfry."+clusters["chat"], 1)[0]
	if !strings.Contains(info.Description, "chat") {
		t.Errorf("INFO: %+v", info)
	}
	var names []string
	for i, e := range info.Endpoints {
		names = append(names, e.Name)
		if e.Subject != "belfry.service.rchat."+e.Name || e.QueueGroup == "" || e.Metadata["description"] == "" {
			t.Errorf("endpoint %+v", e)
		}
		example := e.Metadata["request_example"]
		var request, response schema
		if err := errors.Join(json.Unmarshal([]byte(e.Metadata["request_schema"]), &request), json.Unmarshal([]byte(e.Metadata["response_schema"]), &response)); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		request.check(t, e.Name+" request", json.RawMessage(example))
		fields := []string{"namespace", "rooms", "except", "timeout"}
		if i >= 6 { // about the cluster itself
			fields = []string{"timeout"}
		}
		for _, field := range fields {
			if request.Properties[field].Description == "" {
				t.Errorf("%s: the request's %q is not described: %s", e.Name, field, e.Metadata["request_schema"])
			}
		}
		// What the schema describes is taken, and what comes back is what it describes.
		a := w.request(t, e.Name, strings.ReplaceAll(example, "lobby", "x"))
		if !a.OK {
			t.Errorf("%s %s: %s", e.Name, example, a.text)
		}
		response.check(t, e.Name+" response", json.RawMessage(a.text))
	}
	kit.EqualSlices(t, names, []string{"emit", "join", "leave", "disconnect", "count", "fetch", "nodes", "stats", "rooms", "namespaces"},
		"endpoints")
	w.request(t, "emit", `{"wrong":1}`)
	var stats found
	kit.Eventually(t, "STATS counts both requests to emit", func() bool { // micro counts one after its answer
		stats = discover(t, w.nc, "STATS.belfry."+clusters["chat"], 1)[0]
		return stats.Endpoints[0].NumRequests == 2
	})
	if e := stats.Endpoints[0]; e.NumErrors != 1 || e.Data.Servers != 2 || e.Data.Requests != 10 || e.Data.Refused != 1 || e.Data.State != "connected" {
		t.Errorf("STATS: %+v", e)
	}
}

// A schema is as much of JSON schema as the service uses.
type schema struct {
	Type                 string
	Description          string
	Properties           map[string]schema
	Required             []string
	Items                *schema
	AdditionalProperties any
}

// check checks that a value is what the schema says.
func (s schema) check(t *testing.T, what string, value json.RawMessage) {
	t.Helper()
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		t.Errorf("%s: %s: %v", what, value, err)
		return
	}
	var got string
	switch v := v.(type) {
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		if got = "number"; v == float64(int(v)) {
			got = "integer"
		}
	case []any:
		got = "array"
		var items []json.RawMessage
		_ = json.Unmarshal(value, &items)
		for i, item := range items {
			if s.Items != nil {
				s.Items.check(t, fmt.Sprintf("%s[%d]", what, i), item)
			}
		}
	case map[string]any:
		got = "object"
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(value, &fields)
		for name, field := range fields {
			property, ok := s.Properties[name]
			if !ok && s.AdditionalProperties == false {
				t.Errorf("%s: field %q is not in the schema", what, name)
			}
			property.check(t, what+"."+name, field)
		}
		for _, name := range s.Required {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s: field %q is missing", what, name)
			}
		}
	}
	if s.Type != "" && got != s.Type {
		t.Errorf("%s: %s is of type %s, want %s", what, value, got, s.Type)
	}
}

// TestPermissions: the permissions of the NATS server are the guard: those that the documentation names are enough, for the service and for
// a client, and less is not. A service that is denied its subjects says so.
func TestPermissions(t *testing.T) {
	t.Parallel()
	user := func(name string, publish, subscribe []string) *natsserver.User {
		return &natsserver.User{Username: name, Password: "p", Permissions: &natsserver.Permissions{
			Publish:   &natsserver.SubjectPermission{Allow: publish},
			Subscribe: &natsserver.SubjectPermission{Allow: subscribe},
		}}
	}
	responding := user("service", []string{"belfry.v1.rchat.>"}, []string{"belfry.v1.rchat.>", "belfry.service.rchat.>", "$SRV.>"})
	responding.Permissions.Response = &natsserver.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	server := natstest.Start(t, embedded.Config{Options: &natsserver.Options{Users: []*natsserver.User{
		responding,
		user("node", []string{"belfry.v1.rchat.>"}, []string{"belfry.v1.rchat.>"}),
		user("counter", []string{"belfry.service.rchat.count", "$SRV.PING.belfry"}, []string{"_INBOX.>"}),
	}}})
	as := func(name string) *natsadapter.Adapter {
		return natsadapter.New(natsadapter.Config{URL: server.URL(), Cluster: "chat", Logger: kit.Silent, Options: []nats.Option{nats.UserInfo(name, "p")}})
	}
	srv := servers.New(t, as("node"), nil)
	srv.Of("/")
	s := start(t, service.Config{Adapter: as("service")})

	refused := make(chan error, 10)
	nc := connect(t, server, nats.UserInfo("counter", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if a := request(t, nc, s.Subject()+".count", ``); !a.OK {
		t.Errorf("what it may: %s", a.text)
	}
	discover(t, nc, "PING.belfry", 1)
	kit.OK(t, nc.Publish(s.Subject()+".disconnect", []byte(`{"all":true}`)))
	kit.ErrorIs(t, <-refused, nats.ErrPermissionViolation, "what it may not")

	if _, err := service.Start(t.Context(), service.Config{Adapter: as("node"), Logger: kit.Silent}); !errors.Is(err, nats.ErrPermissionViolation) ||
		!strings.Contains(err.Error(), "belfry.service.rchat.>") {
		t.Errorf("a service that may not subscribe: got %v", err)
	}
}
