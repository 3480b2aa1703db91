package sockets

import "github.com/belfry-io/belfry/adapter/packet"

// A Response is what a client answered to an event, or the program of a server to a server-side event.
type Response struct{ args packet.Args }

// NewResponse returns the response with these arguments. It is for servers.
func NewResponse(args packet.Args) Response { return Response{args} }

// parseResponse makes a Response of what a member, or a server, of any node has answered.
func parseResponse(payload []byte) (Response, error) {
	args, err := packet.ParseArgsBlob(payload, packet.ClusterLimits())
	return Response{args}, err
}

// Len is the number of arguments.
func (r Response) Len() int { return r.args.Len() }

// Decode converts the arguments into what dst points to, as encoding/json does, with binary arguments as []byte. Only those asked for
// are decoded: a nil in dst skips one. It is an error if there are fewer arguments than dst, or if one does not fit.
func (r Response) Decode(dst ...any) error { return r.args.Decode(dst...) }

// Args converts all arguments to what they are without a type of the program's own: nil, bool, float64, string, []byte, []any and
// map[string]any.
func (r Response) Args() ([]any, error) { return r.args.Values() }

// A SocketResponse is what one client answered to [Broadcast.EmitWithAck].
type SocketResponse struct {
	Socket string // its id
	Node   string // where it is
	Response
}

// A ServerResponse is what the program of one server answered to [Namespace.ServerSideEmitWithAck].
type ServerResponse struct {
	Node string // the server's
	Response
}
