// Package netpoll waits for bytes on many connections with one goroutine.
//
// A [Poller] takes the descriptor out of a net.Conn, so that an idle connection costs neither a goroutine nor a buffer nor an entry in
// the runtime's own poller. It exists on Linux; elsewhere New fails with an error that wraps [errors.ErrUnsupported], and the caller
// keeps a goroutine for each connection.
package netpoll

import "errors"

// ErrClosed is what a Handler is told when its Poller is closed, and what Attach returns from then on.
var ErrClosed = errors.New("netpoll: poller closed")

// One event reads at most maxRead bytes, so that a connection that floods waits its turn like all others, and no less than minRead if so
// much has come, whatever [Poller.ReadSize] says.
const (
	maxRead = 64 << 10
	minRead = 4 << 10
)

// A Handler is told what happens to a connection. All calls come from the Poller's goroutine, one at a time. Before [Conn.Start] there
// are none, apart from Writable after a Write that was cut short and Closed when the Poller is closed. They must not block: every other
// connection waits meanwhile. They may call any method of the Conn, but not [Poller.Close].
type Handler interface {
	// Data hands over bytes that were read. p may be modified, but not kept: it is valid until Data returns.
	Data(p []byte)

	// Writable says that the connection takes bytes again, or that it has failed and the next Write will say how. It is called once
	// after each Write that was cut short; it may come before that Write has returned.
	Writable()

	// HungUp says, while reading is paused, that the peer has closed its side: what is not read yet is the last. Resume shows it.
	HungUp()

	// Closed says that nothing more will be read: the peer has closed its side (io.EOF), the connection has failed, or the Poller was
	// closed (ErrClosed). It comes after all Data, at most once, and not because of Conn.Close, nor after it, unless the call was
	// already on its way. After io.EOF, Write still works. The owner has yet to call Conn.Close.
	Closed(err error)
}
