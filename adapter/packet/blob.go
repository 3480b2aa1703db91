package packet

import (
	"encoding/binary"
	"fmt"
)

// AppendBlob appends e to dst as one run of bytes, for [ParseBlob]: the number of attachments, the
// lengths of the text and of each attachment as unsigned varints in their shortest form, then all
// their bytes.
func (e Encoded) AppendBlob(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.Attachments)))
	dst = binary.AppendUvarint(dst, uint64(len(e.Text)))
	for _, a := range e.Attachments {
		dst = binary.AppendUvarint(dst, uint64(len(a)))
	}
	dst = append(dst, e.Text...)
	for _, a := range e.Attachments {
		dst = append(dst, a...)
	}
	return dst
}

// BlobSize returns how many bytes AppendBlob appends.
func (e Encoded) BlobSize() int {
	n := uvarintSize(len(e.Attachments)) + uvarintSize(len(e.Text)) + len(e.Text)
	for _, a := range e.Attachments {
		n += uvarintSize(len(a)) + len(a)
	}
	return n
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// ParseBlob is the reverse of [Encoded.AppendBlob]. The result shares the blob's memory. The only
// limit that counts is Attachments, since everything else is as large as the blob. The messages
// themselves are not checked. ParseBlob refuses a blob that AppendBlob would have written
// otherwise.
func ParseBlob(blob []byte, l *Limits) (Encoded, error) {
	rest := blob
	n, err := takeUvarint(&rest, min(l.attachments(), len(blob))) // each has a length, of a byte at least
	if err != nil {
		return Encoded{}, fmt.Errorf("%w: number of attachments", err)
	}
	lengths := rest
	total := 0
	for range n + 1 {
		size, err := takeUvarint(&rest, len(blob)-total)
		if err != nil {
			return Encoded{}, fmt.Errorf("%w: length", err)
		}
		total += size
	}
	if total != len(rest) {
		return Encoded{}, fmt.Errorf("%w: %d bytes where %d are announced", ErrBlob, len(rest), total)
	}
	var e Encoded
	e.Text = takeBytes(&rest, &lengths)
	if n > 0 {
		e.Attachments = make([][]byte, n)
		for i := range e.Attachments {
			e.Attachments[i] = takeBytes(&rest, &lengths)
		}
	}
	return e, nil
}

// takeUvarint takes a number of at most limit from the front of b.
func takeUvarint(b *[]byte, limit int) (int, error) {
	v, size := binary.Uvarint(*b)
	if size <= 0 || size > 1 && (*b)[size-1] == 0 || v > uint64(limit) {
		return 0, ErrBlob
	}
	*b = (*b)[size:]
	return int(v), nil
}

// takeBytes takes as many bytes from the front of b as the number in front of lengths says. Both
// have been checked.
func takeBytes(b, lengths *[]byte) []byte {
	v, size := binary.Uvarint(*lengths)
	*lengths = (*lengths)[size:]
	taken := (*b)[:v:v]
	*b = (*b)[v:]
	return taken
}
