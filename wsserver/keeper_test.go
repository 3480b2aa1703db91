package wsserver

import "sync"

// A Keeper keeps a seat while its client is away: a session that stays in its rooms, in short, for the tests of seats.
type Keeper struct {
	seat seat

	mu      sync.Mutex // guards what follows
	missed  []*delivery
	yielded bool
}

// KeepFor has the seat of s kept by the result; nil if s cannot yield it.
func KeepFor(s *Socket) *Keeper {
	k := &Keeper{seat: s.seat}
	if _, ok := s.seat.handOver((*member)(s), k); !ok {
		return nil
	}
	return k
}

// KeptBy has the next client of srv that connects take over the seat of from, a *Socket or a *Keeper; nil for none.
func (srv *Server) KeptBy(from any) {
	srv.kept = func(*Socket) (string, sink) {
		switch from := from.(type) {
		case *Socket:
			return from.seat.id, (*member)(from)
		case *Keeper:
			return from.seat.id, from
		}
		return "", nil
	}
}

// Kick is a disconnection on its way to s, which was selected for it.
func (s *Socket) Kick() { (*member)(s).Disconnect(false) }

func (k *Keeper) Deliver(frame any) bool {
	k.mu.Lock()
	if !k.yielded {
		k.missed = append(k.missed, frame.(*delivery))
		k.mu.Unlock()
		return true
	}
	k.mu.Unlock()
	return k.seat.sitter().Deliver(frame)
}

func (k *Keeper) yield(pass func() bool) ([]*delivery, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.yielded || !pass() {
		return nil, false
	}
	k.yielded = true
	return k.missed, true
}

func (k *Keeper) replaced()                                       {}
func (k *Keeper) socket() *Socket                                 { return nil }
func (k *Keeper) DeliverWithAck(_ any, answer func([]byte, bool)) { answer(nil, true) }
func (k *Keeper) CancelAck(any)                                   {}
func (k *Keeper) Describe() []byte                                { return nil }
func (k *Keeper) Disconnect(bool)                                 { k.seat.leave() }
