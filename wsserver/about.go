package wsserver

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// What a server tells other nodes of itself: see [cluster.Hub.CallServers].

// tellAbout has the server answer.
func (srv *Server) tellAbout() {
	srv.hub.Handle(cluster.CallStats, func(context.Context, string, []byte) ([]byte, error) {
		return json.Marshal(struct {
			Readiness
			Stats any `json:"stats"`
		}{srv.Readiness(), inWords(reflect.ValueOf(srv.Stats()))})
	})
	srv.hub.Handle(cluster.CallNamespaces, func(context.Context, string, []byte) ([]byte, error) {
		type namespace struct {
			Name    string `json:"name"`
			Sockets int    `json:"sockets"`
		}
		all := []namespace{}
		list, _ := srv.Namespaces()
		for _, ns := range list {
			all = append(all, namespace{ns.name, int(ns.byPolling.Load() + ns.byWebSocket.Load())})
		}
		return json.Marshal(all)
	})
}

// inWords is a struct of counts as programs in other languages expect it in JSON: names in small
// letters, errors as their text, durations in seconds.
func inWords(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds()
	case error:
		return x.Error()
	case interface{ String() string }:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		fields := make(map[string]any)
		for i := range v.NumField() {
			fields[snake(v.Type().Field(i).Name)] = inWords(v.Field(i))
		}
		return fields
	case reflect.Slice:
		list := make([]any, 0, v.Len())
		for i := range v.Len() {
			list = append(list, inWords(v.Index(i)))
		}
		return list
	}
	return v.Interface()
}

// snake is a name of Go's in small letters, with a line before each that was capital.
func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}
