package packet

import "errors"

// The reasons why decoding, encoding or conversion fails. Every error of this package is one of
// them or wraps one. An error repeats no text of a peer, except numbers. All errors of a [Decoder]
// are what Socket.IO calls a "parse error".
var (
	ErrType        = errors.New("packet: unknown type")
	ErrAttachments = errors.New("packet: illegal number of attachments")
	ErrNamespace   = errors.New("packet: illegal namespace")
	ErrID          = errors.New("packet: illegal ack id")
	ErrPayload     = errors.New("packet: illegal payload")
	ErrName        = errors.New("packet: illegal event name")
	ErrReserved    = errors.New("packet: reserved event name")
	ErrJSON        = errors.New("packet: invalid JSON")
	ErrUTF8        = errors.New("packet: invalid UTF-8")
	ErrDepth       = errors.New("packet: nested too deeply")
	ErrArguments   = errors.New("packet: too many arguments")
	ErrPlaceholder = errors.New("packet: illegal placeholder")
	ErrAwaited     = errors.New("packet: text message before all attachments of the last packet")
	ErrStray       = errors.New("packet: binary message without a packet that announced it")
	ErrTooLarge    = errors.New("packet: attachments too large")
	ErrArgument    = errors.New("packet: argument cannot be converted")
	ErrBlob        = errors.New("packet: malformed blob")
)
