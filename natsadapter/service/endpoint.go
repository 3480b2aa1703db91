package service

import (
	"cmp"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// An endpoint is what the service can be asked for.
type endpoint struct {
	name        string
	description string
	example     string // a request
	new         func() request
	answer      answer // of its type
}

var endpoints = []endpoint{
	{"emit", "sends an event to the selected sockets, and counts those that have it",
		`{"rooms":["lobby"],"event":"news","args":["hi"]}`,
		func() request { return new(emitRequest) }, new(countAnswer)},
	{"join", "puts the selected sockets into rooms",
		`{"rooms":["lobby"],"join":["tower"]}`,
		func() request { return new(joinRequest) }, new(plainAnswer)},
	{"leave", "takes the selected sockets out of rooms",
		`{"rooms":["lobby"],"leave":["tower"]}`,
		func() request { return new(leaveRequest) }, new(plainAnswer)},
	{"disconnect", "disconnects the selected sockets",
		`{"rooms":["lobby"],"close":true}`,
		func() request { return new(disconnectRequest) }, new(plainAnswer)},
	{"count", "counts the selected sockets",
		`{"rooms":["lobby"]}`,
		func() request { return new(countRequest) }, new(countAnswer)},
	{"fetch", "lists the selected sockets, with their rooms and data",
		`{"rooms":["lobby"],"limit":100}`,
		func() request { return new(fetchRequest) }, new(fetchAnswer)},
	{"nodes", "lists the servers of the cluster, as the service knows them", `{}`,
		func() request { return new(nodesRequest) }, new(nodesAnswer)},
	{"stats", "asks each server how it stands, and what it has counted", `{"timeout":3000}`,
		func() request { return new(statsRequest) }, new(statsAnswer)},
	{"rooms", "lists the rooms of a namespace, without the sockets' own", `{"namespace":"/","limit":100}`,
		func() request { return new(roomsRequest) }, new(roomsAnswer)},
	{"namespaces", "lists the namespaces of all servers, and counts their sockets", `{"limit":100}`,
		func() request { return new(namespacesRequest) }, new(namespacesAnswer)},
}

// metadata describes the endpoint to those who look the service up.
func (e endpoint) metadata() map[string]string {
	text := func(v any) string {
		data, _ := json.Marshal(v) // maps of strings always become JSON
		return string(data)
	}
	return map[string]string{
		"description":     e.description,
		"request_example": e.example,
		"request_schema":  text(schema(reflect.TypeOf(e.new()))),
		"response_schema": text(schema(reflect.TypeOf(e.answer))),
	}
}

// meaning is what the fields of requests and answers mean, by their names in JSON; those of a
// socket follow "socket.", and so on.
var meaning = map[string]string{
	"namespace":   `the namespace; default "/"`,
	"rooms":       "sockets in any of these rooms; a socket's id is a room, too. Default: the whole namespace. An empty list selects no socket",
	"except":      "without the sockets in any of these rooms",
	"timeout":     "how long to wait for the servers, in milliseconds, at most 30000",
	"event":       "the event's name",
	"args":        "the event's arguments",
	"volatile":    "skips the clients whose connections are busy",
	"compress":    "whether the event may be compressed",
	"join":        "the rooms to put the sockets into",
	"leave":       "the rooms to take the sockets out of",
	"close":       "ends the clients' connections, with their sockets in all namespaces",
	"all":         "must be true to disconnect a whole namespace",
	"limit":       "the largest number of sockets, servers or names in the answer",
	"after":       "the id of a socket or server, or a name: continue after it",
	"handshake":   "includes what the clients sent when they connected, with their credentials",
	"ok":          "all servers did everything",
	"error":       "why ok is false",
	"missing":     "the ids of the servers that did not confirm",
	"unconfirmed": "the ids of the servers that may not know the new rooms yet",
	"names":       "the names of missing and unconfirmed servers, by their ids, of 64 at most",
	"count":       "the number of sockets, without those of missing servers",
	"sockets":     "in the order of their ids",
	"more":        "there are more: ask for those after the last one",
	"nodes":       "the servers of the cluster, as the service knows them",
	"servers":     "what each server says of itself: state, node, node_name, reasons, stats",
	"namespaces":  "in the order of their names",

	"list.rooms": "the names of the rooms, in their order",

	"server.id":      "identifies the server; it has a new one whenever its program starts",
	"server.name":    "the name of the server",
	"server.suspect": "the server is silent, and nobody waits for it",

	"namespace.name":    "the name of the namespace",
	"namespace.sockets": "the number of its sockets, on all servers that have answered",
	"namespace.servers": "the number of servers that have it",

	"socket.id":        "identifies the socket in the whole cluster; also the name of its own room",
	"socket.node":      "the id of its server",
	"socket.node_name": "the name of its server",
	"socket.rooms":     "its own, then the others in the order of joining",
	"socket.transport": "what carried its connection: polling or websocket",
	"socket.data":      "its data on the server",
	"socket.handshake": "what its client sent when it connected",
	"socket.truncated": "the rest of the socket does not fit into an answer",
}

// schema is the JSON schema of what a type is in JSON.
func schema(t reflect.Type) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return schema(t.Elem())
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t == reflect.TypeFor[rooms]():
		return schema(reflect.TypeFor[[]string]())
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schema(t.Elem())}
	}
	prefix := map[reflect.Type]string{
		reflect.TypeFor[socket](): "socket.", reflect.TypeFor[server](): "server.",
		reflect.TypeFor[namespace](): "namespace.", reflect.TypeFor[roomsAnswer](): "list.",
	}[t]
	properties, required := make(map[string]any), []string{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		property := schema(f.Type)
		if text := cmp.Or(meaning[prefix+name], meaning[name]); text != "" {
			property["description"] = text
		}
		properties[name] = property
		if f.Tag.Get("schema") == "required" {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}
