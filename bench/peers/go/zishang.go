package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// newZishang is a server of github.com/zishang520/socket.io.
func newZishang(redis string, deflate bool) (http.Handler, error) {
	if redis != "" {
		return nil, errors.New("it has no Redis adapter here: its module is not to be had (see README.md)")
	}
	opts := socket.DefaultServerOptions()
	opts.SetCors(&types.Cors{Origin: "*"})
	if deflate {
		opts.SetPerMessageDeflate(&types.PerMessageDeflate{Threshold: 1024}) // socket.io's default
	}
	server := socket.NewServer(nil, opts)
	err := server.On("connection", func(clients ...any) {
		client := clients[0].(*socket.Socket)
		client.On("join", func(args ...any) {
			names, ack := split(args)
			rooms := make([]socket.Room, len(names))
			for i, name := range names {
				rooms[i] = socket.Room(fmt.Sprint(name))
			}
			client.Join(rooms...)
			ack([]any{""}, nil)
		})
		client.On("publish", func(args ...any) {
			if len(args) == 2 {
				server.To(socket.Room(fmt.Sprint(args[0]))).Emit("message", args[1])
			}
		})
		client.On("echo", func(args ...any) {
			data, ack := split(args)
			ack(data, nil)
		})
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server.ServeHandler(nil))
	return mux, nil
}

// split takes the function that acknowledges an event, its last argument, from the others. Without one,
// acknowledging does nothing.
func split(args []any) (rest []any, ack socket.Ack) {
	if len(args) > 0 {
		if ack, ok := args[len(args)-1].(socket.Ack); ok {
			return args[:len(args)-1], ack
		}
	}
	return args, func([]any, error) {}
}
