package outbox

import "sync"

// A Form is how a sort of carrier writes the messages of a frame.
type Form struct {
	// Make returns f's messages in this form; nil if that is f.Bytes.
	Make func(f *Frame) []byte
}

// made is a frame in one of its forms. It is in a list of them, to which more are added at its front.
type made struct {
	form  *Form
	once  sync.Once
	frame *Frame
	next  *made
}

// As returns f in another form, which is made when it is asked for the first time and shared by all who ask later.
func (f *Frame) As(form *Form) *Frame {
	for {
		first := f.forms.Load()
		for m := first; m != nil; m = m.next {
			if m.form == form {
				m.once.Do(func() { m.frame = f.made(form) })
				return m.frame
			}
		}
		f.forms.CompareAndSwap(first, &made{form: form, next: first})
	}
}

func (f *Frame) made(form *Form) *Frame {
	b := form.Make(f)
	if b == nil {
		return f
	}
	return &Frame{Bytes: b, Volatile: f.Volatile, NoCompress: f.NoCompress, Ping: f.Ping}
}
