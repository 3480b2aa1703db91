package packet

import (
	"errors"
	"fmt"
)

// Limits bound what a packet may claim. A field that is zero or negative means its default, and a
// nil *Limits means all defaults. Limits are only read, so any number of decoders may share one.
type Limits struct {
	Attachments     int // of one packet; default 10, as in Socket.IO's own parser
	AttachmentBytes int // of one packet, all attachments together; default 1,000,000; a server's is its MaxPayload
	Arguments       int // of one packet, including an event's name; default 1,000
	Depth           int // of arrays and objects inside each other, in one argument; default 1,000, at most 10,000
	NamespaceBytes  int // default 512
}

// maxDepth is where encoding/json gives up, so a deeper limit would only move the error.
const maxDepth = 10_000

// deepest leaves the depth of what is to be encoded to the peer's limits.
var deepest = Limits{Depth: maxDepth}

// Check returns an error for a limit below zero, and for a Depth that cannot be reached. It is for
// configurations.
func (l *Limits) Check() error {
	var errs []error
	for _, limit := range [...]struct {
		name  string
		value int
	}{
		{"Attachments", l.Attachments}, {"AttachmentBytes", l.AttachmentBytes}, {"Arguments", l.Arguments}, {"Depth", l.Depth},
		{"NamespaceBytes", l.NamespaceBytes},
	} {
		if limit.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative", limit.name, limit.value))
		}
	}
	if l.Depth > maxDepth {
		errs = append(errs, fmt.Errorf("%s: %d is more than %d, where encoding/json gives up", "Depth", l.Depth, maxDepth))
	}
	return errors.Join(errs...)
}

// InForce returns the limits that l means, with the defaults for fields that are not set. l may be
// nil.
func (l *Limits) InForce() Limits {
	return Limits{l.attachments(), l.attachmentBytes(), l.arguments(), l.depth(), l.namespaceBytes()}
}

func (l *Limits) attachments() int {
	if l == nil || l.Attachments <= 0 {
		return 10
	}
	return l.Attachments
}

func (l *Limits) attachmentBytes() int {
	if l == nil || l.AttachmentBytes <= 0 {
		return 1_000_000
	}
	return l.AttachmentBytes
}

func (l *Limits) arguments() int {
	if l == nil || l.Arguments <= 0 {
		return 1_000
	}
	return l.Arguments
}

func (l *Limits) depth() int {
	if l == nil || l.Depth <= 0 {
		return 1_000
	}
	return min(l.Depth, maxDepth)
}

func (l *Limits) namespaceBytes() int {
	if l == nil || l.NamespaceBytes <= 0 {
		return 512
	}
	return l.NamespaceBytes
}
