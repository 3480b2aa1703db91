package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// Listen listens on all of Addrs, with TLS if the settings say so. The caller must close the
// listeners; a server that serves them does.
func (c *Config) Listen() ([]net.Listener, error) {
	var listeners []net.Listener
	for _, addr := range c.Addrs {
		l, err := listen(addr)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, c.listenError(err, addr)
		}
		if c.certs != nil {
			l = tls.NewListener(l, &tls.Config{GetCertificate: c.certs.get, NextProtos: []string{"http/1.1"}})
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listen(addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", addr)
}

// listenError says which setting is wrong.
func (c *Config) listenError(err error, addr string) error {
	c.mu.Lock()
	source := c.loaded.source("addr")
	c.mu.Unlock()
	e := &KeyError{Key: "addr", Source: source, Problem: fmt.Sprintf("cannot listen on %s: %v", addr, err),
		Want: "an address of this host that is free", Err: err}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Problem, e.Want = fmt.Sprintf("another program listens on %s", addr), "another port, or 0 for a free one"
	case errors.Is(err, os.ErrPermission):
		e.Problem, e.Want = fmt.Sprintf("this user may not listen on %s", addr), "a port from 1024 on, or the right to lower ones"
	}
	return e
}

// certificates are the certificate to serve with. A reload replaces it.
type certificates struct {
	now atomic.Pointer[tls.Certificate]
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }

// load reads the files anew. If something is wrong with them, nothing changes. Errors are mistakes.
func (c *certificates) load(cert, key string) error {
	if err := checkPair(cert, key); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return wrong("files that can be read", "%v", err)
	}
	c.now.Store(&pair)
	return nil
}
