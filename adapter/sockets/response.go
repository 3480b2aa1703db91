package sockets

import (
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// A Response is a client's answer to an event, or that of a server's program to a server-side
// event.
type Response struct{ args packet.Args }

// NewResponse returns the response with these arguments. It is for servers.
func NewResponse(args packet.Args) Response { return Response{args} }

// parseResponse makes a Response of what a member, or a server, of any node has answered.
func parseResponse(answer []byte) (Response, error) {
	args, err := payload.ParseArgs(answer)
	return Response{args}, err
}

// Len returns the number of arguments.
func (r Response) Len() int { return r.args.Len() }

// Decode converts the arguments into the values that dst points to, as encoding/json does, with
// binary arguments as []byte. Further arguments are ignored, and a nil in dst skips one. It returns
// an error if there are fewer arguments than dst, or if one does not fit.
func (r Response) Decode(dst ...any) error { return r.args.Decode(dst...) }

// Args converts all arguments into nil, bool, float64, string, []byte, []any and map[string]any.
func (r Response) Args() ([]any, error) { return r.args.Values() }

// A SocketResponse is one client's answer to [Broadcast.EmitWithAck].
type SocketResponse struct {
	Socket string // its id
	Node   string // the id of its server
	Response
}

// A ServerResponse is the answer of one server's program to [Namespace.ServerSideEmitWithAck].
type ServerResponse struct {
	Node string // the server's id
	Response
}
