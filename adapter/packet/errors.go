package packet

import "errors"

// The reasons for which decoding, encoding and conversion fail. Every error of this package is one of them or wraps one, and none repeats
// more of a peer's text than a number. All that a [Decoder] returns are what Socket.IO calls a "parse error".
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
	ErrAwaited     = errors.New("packet: text while attachments are awaited")
	ErrStray       = errors.New("packet: binary message that nothing announced")
	ErrTooLarge    = errors.New("packet: attachments too large")
	ErrArgument    = errors.New("packet: argument cannot be converted")
	ErrBlob        = errors.New("packet: malformed blob")
)
