package wsserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Shutdown ends srv and the http.Server that serves it, in the right order. web accepts no more
// connections from the start, so that clients go to other nodes. srv ends its sockets as
// [Server.Close] does, and with them the polls that web waits for, and the WebSockets that web does
// not know. Then web finishes what is left, such as requests for pages. If ctx ends first, web cuts
// off what is left, and Shutdown returns an error.
//
// web.Serve returns http.ErrServerClosed at once: a program waits for Shutdown to return. A handler
// must not call it.
func (srv *Server) Shutdown(ctx context.Context, web *http.Server) error {
	ended := make(chan error, 1)
	go func() { ended <- web.Shutdown(ctx) }()
	err := srv.Close(ctx)
	if left := <-ended; left != nil {
		web.Close()
		err = errors.Join(err, fmt.Errorf("wsserver: shut down the http.Server: %w", left))
	}
	return err
}
