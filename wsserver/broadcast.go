package wsserver

import "github.com/belfry-io/belfry/adapter/sockets"

// What reaches the sockets of all nodes is the same for a server and for a process without sockets: package emitter has it.
type (
	// A Broadcast is a selection of the sockets of a namespace, on all nodes, to emit to: To, In, Except, Volatile, Local and Compress
	// return another one; Emit, EmitCounted and EmitWithAck send an event to its sockets; FetchSockets, Count, SocketsJoin, SocketsLeave
	// and DisconnectSockets are what else can be done with them. It is a value, and may be kept, reused, and used concurrently. Servers,
	// namespaces and sockets make it: the zero value must not be used.
	Broadcast = sockets.Broadcast

	// A RemoteSocket is a socket on any node, this one among them, as it was when it was fetched ([Broadcast.FetchSockets]): its ID, Node,
	// Rooms, Handshake and Data. Emit, EmitWithAck, Join, Leave and Disconnect act on the socket, wherever it is. [Namespace.Socket] has
	// the socket itself, if it is on this node.
	RemoteSocket = sockets.RemoteSocket

	// A Handshake is what a client said when it connected: see [Socket.Handshake].
	Handshake = sockets.Handshake

	// A Response is what a client answered to [Socket.EmitWithAck], or one of many clients or servers to a broadcast. Len is the number of
	// its arguments, Decode converts them as [Event.Decode] does, and Args as [Event.Args].
	Response = sockets.Response

	// A SocketResponse is what one client answered to [Broadcast.EmitWithAck]: a Response, with the Socket's id and its Node.
	SocketResponse = sockets.SocketResponse

	// A ServerResponse is what the program of one server answered to [Namespace.ServerSideEmitWithAck]: a Response, with the server's Node.
	ServerResponse = sockets.ServerResponse
)

// ErrNoData is what [RemoteSocket.DecodeData] returns for a socket without data.
var ErrNoData = sockets.ErrNoData
