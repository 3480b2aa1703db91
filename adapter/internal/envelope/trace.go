package envelope

// MaxTrace is the size of the longest trace context of a broadcast, in bytes.
const MaxTrace = 1024

// traced is a flag of a broadcast that ends with the context of a trace. Nodes of before ignore it,
// as they ignore what follows their fields.
const traced = 4

// flags returns the flags of b as they are encoded.
func (b *Body) flags() uint64 {
	if len(b.Trace) == 0 || len(b.Trace) > MaxTrace {
		return b.Flags &^ traced
	}
	return b.Flags | traced
}

// trace reads the context of a trace, if flags announce it. One that is too long is none: nothing
// that is delivered depends on it.
func (r *reader) trace(flags uint64) []byte {
	if flags&traced == 0 {
		return nil
	}
	if b := r.bytes(); 0 < len(b) && len(b) <= MaxTrace {
		return b
	}
	return nil
}
