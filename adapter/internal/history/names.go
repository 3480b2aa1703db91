package history

import (
	"strings"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// names has the names that records have, each once, for as long as a record has it. Its zero value
// is empty.
type names struct {
	chains map[key]*chain
	peak   int // see shrink.Map
	bytes  int
}

// key is a name: of a room or a member of a namespace, of a namespace, or of a node.
type key struct {
	kind            nameKind
	namespace, name string
}

type nameKind uint8

const (
	room nameKind = iota
	whole
	member
	node
)

// A chain leads to the records that are for a name: to the last, and each has a link to the one
// before. It may end in a number that has been forgotten.
type chain struct {
	key   key
	last  uint64 // 0 if there are none
	uses  int32  // how often records have this name
	named int32  // of them, those where a broadcast names it as a room, or in except

	in, walked bool // for Missed alone: the member is in the room; it has been here
}

// link is a place in a chain.
type link struct {
	chain  *chain
	before uint64
}

// What they take in memory; TestBytes measures it.
const (
	linkBytes  = 16
	chainBytes = 64 + 96 // and its place in the map
)

// get returns the chain of a name for one use more.
func (s *names) get(k key) *chain {
	c := s.chains[k]
	if c == nil {
		if s.chains == nil {
			s.chains = make(map[key]*chain)
		}
		k.name = strings.Clone(k.name)
		c = &chain{key: k}
		s.chains[k] = c
		s.bytes += chainBytes + len(k.name)
	}
	c.uses++
	return c
}

// link makes record n the last of a name's chain. If it was that already, it is the one before, too.
func (s *names) link(k key, n uint64) link {
	c := s.get(k)
	l := link{c, c.last}
	c.last = n
	return l
}

// drop ends one use of a chain.
func (s *names) drop(c *chain) {
	if c.uses--; c.uses == 0 {
		delete(s.chains, c.key)
		s.chains = shrink.Map(s.chains, &s.peak)
		s.bytes -= chainBytes + len(c.key.name)
	}
}
