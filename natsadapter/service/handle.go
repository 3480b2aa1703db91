package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
)

// A refusal is why a request is not carried out.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// handler takes the requests of an endpoint. It is called for one after the other.
func (s *Service) handler(e endpoint) micro.HandlerFunc {
	return func(req micro.Request) {
		r, err := s.decode(e, req.Data())
		if err == nil {
			err = s.begin()
		}
		if err != nil {
			s.refuse(req, err)
			return
		}
		s.counts.requests.Add(1)
		if emit, ok := r.(*emitRequest); ok && req.Reply() == "" {
			defer s.tasks.Done()
			if err := emit.emit(s.ctx, s.emitter); err != nil {
				s.refuse(req, err)
			}
			s.end()
			return
		}
		go func() {
			defer s.tasks.Done()
			msg := s.carryOut(r)
			s.end() // before the answer, after which the next request may come
			s.respond(req.Reply(), msg)
		}()
	}
}

// decode reads a request, and checks what can be checked.
func (s *Service) decode(e endpoint, data []byte) (request, error) {
	if len(data) > s.cfg.MaxRequestBytes {
		return nil, &refusal{413, fmt.Sprintf("the request has %d bytes; want %d at the most", len(data), s.cfg.MaxRequestBytes)}
	}
	r := e.new()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(r)
	switch {
	case err == io.EOF: // an empty request is one without fields
		err = nil
	case err == nil:
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("unexpected text after the object")
		}
	}
	if err == nil {
		err = r.selected().check()
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, &refusal{400, fmt.Sprintf("%v; want an object such as %s", err, e.example)}
	}
	return r, nil
}

// carryOut does what a request asks for, and returns the answer.
func (s *Service) carryOut(r request) *nats.Msg {
	timeout := s.cfg.Timeout
	if t := r.selected().Timeout; t > 0 {
		timeout = time.Duration(t) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	// A server that was known may have done it and left since. One that was not known, since the
	// link is new, may be by now.
	known := s.emitter.ServerCount() > 0
	a, err := r.do(ctx, s)
	if err == nil && !known && s.emitter.ServerCount() == 0 {
		err = &refusal{503, fmt.Sprintf("no server of the cluster %q is known: is that its name, and does one run?", s.cfg.Adapter.Cluster())}
	}
	var o outcome
	if err = o.set(err); err != nil {
		s.counts.refused.Add(1)
		return &nats.Msg{Header: refusalHeader(err), Data: refusalData(err)}
	}
	if !o.OK {
		s.counts.partial.Add(1)
	}
	*a.result() = o
	data, err := json.Marshal(a)
	if err != nil { // not of these types
		s.cfg.Logger.Error("belfry: an answer of the service", "error", err)
	}
	return &nats.Msg{Data: data}
}

// respond sends an answer, if one is wanted. Not by micro.Request, which notes its errors without a
// lock.
func (s *Service) respond(reply string, msg *nats.Msg) {
	if reply == "" {
		return
	}
	msg.Subject = reply
	if err := s.nc.PublishMsg(msg); err != nil {
		s.cfg.Logger.Warn("belfry: a request to the service was not answered", "error", err)
	}
}

// refuse answers a request that is not carried out. It is for handlers only.
func (s *Service) refuse(req micro.Request, err error) {
	s.counts.refused.Add(1)
	if req.Reply() == "" {
		s.cfg.Logger.Warn("belfry: a request to the service, which waits for no answer, was refused", "subject", req.Subject(), "error", err)
		return
	}
	code, text := explain(err)
	if err := req.Error(code, text, refusalData(err)); err != nil {
		s.cfg.Logger.Warn("belfry: a request to the service was not answered", "error", err)
	}
}

func refusalHeader(err error) nats.Header {
	code, text := explain(err)
	return nats.Header{micro.ErrorCodeHeader: {code}, micro.ErrorHeader: {text}}
}

func refusalData(err error) []byte {
	_, text := explain(err)
	data, _ := json.Marshal(outcome{Error: text}) // a struct of strings always becomes JSON
	return data
}

// explain says which code an error has, and what can stand in a header of it.
func explain(err error) (code, text string) {
	n := 400
	var r *refusal
	switch {
	case errors.As(err, &r):
		n = r.code
	case errors.Is(err, adapter.ErrClosed), errors.Is(err, adapter.ErrUnavailable), errors.Is(err, cluster.ErrOverflow), errors.Is(err, adapter.ErrRefused),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		n = 503
	}
	return strconv.Itoa(n), line(err.Error())
}

// line makes text that may come from a request one line of no more than 512 bytes.
func line(text string) string {
	const most = 512
	b := []byte(text)
	if len(b) > most {
		b = append(b[:most-3], "..."...)
	}
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	return string(bytes.ToValidUTF8(b, nil))
}
