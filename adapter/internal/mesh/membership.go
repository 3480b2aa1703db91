package mesh

import (
	"slices"
	"time"
)

// contact notes that something came from id.
func (m *Machine[T, O, B, W]) contact(id string) *peer[B] {
	p := m.discover(id)
	p.contacted = true
	p.heardAt, m.receivedAt = m.now, m.now
	m.revive(p)
	m.await(p)
	return p
}

// revive takes back that p was given up, if it was. It is suspect, as it was.
func (m *Machine[T, O, B, W]) revive(p *peer[B]) {
	if !m.apply(p, returns) {
		return
	}
	m.suspect(p) // of all fences since
	for _, waits := range m.waits {
		for i := range waits {
			waits[i].excused = append(waits[i].excused, p.id)
		}
	}
}

// discover returns the peer with this id. One never heard of is asked to answer.
func (m *Machine[T, O, B, W]) discover(id string) *peer[B] {
	p := m.peers[id]
	if p == nil {
		p = &peer[B]{id: id, since: m.now, standing: StandingAlive, heardAt: m.now, presumed: m.fence}
		m.add(p)
		m.hello(p)
	}
	return p
}

// await waits for p, of which something has come or whom another has named, if the link is new and p was given up while it was silent.
func (m *Machine[T, O, B, W]) await(p *peer[B]) {
	if !m.up() || !m.opening || !p.standing.silent() || p.standing.parted() {
		return
	}
	m.revive(p)
	m.reopen(p)
	m.hello(p)
	m.changed = true
}

// reopen has p waited for on a new link, and asks for what it has sent meanwhile.
func (m *Machine[T, O, B, W]) reopen(p *peer[B]) {
	m.apply(p, answers)
	p.since, p.heardAt, p.helloAt = m.now, m.now, m.now
	if p.started {
		m.resync(p)
	}
	m.requestRepairs(p)
}

// identify takes what p says of itself, and settles what its age settles: a node younger than this one cannot have sent anything before this
// one existed, so all that it ever sent concerns us. Of an older one nothing but its answer to our fence says where it stands, and that
// our broker's interest has reached it.
func (m *Machine[T, O, B, W]) identify(p *peer[B], a About) {
	p.client = a.Client
	if born := m.now - a.Age; p.age == 0 && p.gossipedAge == 0 || born < p.born {
		p.born = born
	}
	p.age = max(p.age, a.Age)
	if older := p.gossipedAge > 0 && p.born <= 0; !p.started && a.Age < m.now && !older { // others know better what comes late
		p.presumed, p.firstFence = m.fence, m.fence
		m.markComplete(p, p.born)
		p.start(0)
		m.changed = true
	}
}

// identifyAt is meet for a message that says what p had sent by then: if it is the first of a younger node, this one was not there for that.
func (m *Machine[T, O, B, W]) identifyAt(p *peer[B], a About, sent uint64) {
	unmet := !p.started
	m.identify(p, a)
	if unmet && p.started {
		p.sent = max(p.sent, sent)
	}
}

// rename takes the name of p, as p says it: empty if p does not.
func (m *Machine[T, O, B, W]) rename(p *peer[B], name string) {
	if name != "" && name != p.name {
		p.name = name
		m.changed = m.changed || p.started
	}
}

// askName asks p for its name, which was lost on its way if p was met and has not said it yet.
func (m *Machine[T, O, B, W]) askName(p *peer[B]) {
	if p.name == "" && m.now-p.helloAt >= SuspectAfter {
		m.hello(p)
	}
}

// returned sees to a suspect from which something came: it is asked to answer the last fence, which alone shows that it receives, too, and
// what it has sent since.
func (m *Machine[T, O, B, W]) returned(p *peer[B]) {
	if p.standing == StandingSuspect && m.up() {
		if p.started {
			m.resync(p)
		}
		if m.now-p.helloAt >= helloInterval {
			m.hello(p)
		}
	}
	m.requestRepairs(p)
}

// stalled is told for how long this node did nothing: that is nobody else's silence. Without it, a node that was stopped for long would have given
// up all others before it takes what has come from them meanwhile.
func (m *Machine[T, O, B, W]) stalled(d time.Duration) {
	if d < SuspectAfter {
		return
	}
	for _, p := range m.order {
		p.heardAt, p.completeAt, p.leaveBy = min(m.now, p.heardAt+d), min(m.now, p.completeAt+d), p.leaveBy+d
	}
}

// trust ends the suspicion of a node that has answered a fence.
func (m *Machine[T, O, B, W]) trust(p *peer[B], fence uint64) {
	if m.up() && fence >= p.missedFence && m.apply(p, answers) {
		p.since = m.now
	}
}

// suspect says that p is not to be waited for. Its answer is presumed, so that what it sends meanwhile shows as missing when it is back.
func (m *Machine[T, O, B, W]) suspect(p *peer[B]) {
	if m.up() && p.alive() {
		m.counts.Suspects++
	}
	if m.apply(p, falls) {
		p.missedFence = m.fence
		m.gossipAbout(p)
	}
	if p.started {
		p.presumed = max(p.presumed, m.fence)
	}
}

func (m *Machine[T, O, B, W]) hello(p *peer[B]) {
	p.helloAt = m.now
	if m.up() {
		m.emit(Send{To: p.id, Message: m.fenceMessage(true)})
	}
}

// handleBye takes the goodbye of p: nobody waits for it from now on, but what is missing of it is still asked for.
func (m *Machine[T, O, B, W]) handleBye(p *peer[B], b *Bye) {
	if p.standing == StandingLeft { // it has not heard so
		m.confirm(p)
		return
	}
	m.identify(p, b.About)
	p.noteAnnounced(b.Last)
	m.startLeaving(p, b.Last)
	p.interval, p.nackAt = min(p.interval, nackInterval/2), min(p.nackAt, m.now) // what is missing is asked for at every goodbye: it stays for those who ask
	if p.standing != StandingLeft && b.Last > p.high {
		m.resync(p)
	}
}

// startLeaving notes that p leaves, with last as its last number. It answers who misses something for a while; then it has gone.
func (m *Machine[T, O, B, W]) startLeaving(p *peer[B], last uint64) {
	if m.apply(p, parts) {
		p.leaveBy = m.now + maxClosing + m.longest()
	}
	p.final, p.sent = max(p.final, last), max(p.sent, last)
	if !p.started { // nothing of it was ever due
		m.confirmLeft(p)
	}
}

// endLeaving lets p go, if it is leaving and nothing is missing of it.
func (m *Machine[T, O, B, W]) endLeaving(p *peer[B]) {
	if p.standing.parting() && p.low >= p.final {
		m.confirmLeft(p)
	}
}

func (m *Machine[T, O, B, W]) confirmLeft(p *peer[B]) {
	m.markLeft(p)
	m.confirm(p)
}

// markLeft ends p, which leaves.
func (m *Machine[T, O, B, W]) markLeft(p *peer[B]) {
	m.apply(p, leaves)
	m.abandon(p)
	m.gossipAbout(p)
}

func (m *Machine[T, O, B, W]) confirm(p *peer[B]) {
	if m.up() {
		m.emit(Send{To: p.id, Message: &Confirm{}})
	}
}

// abandon gives up what is missing of p, which is dead or has left. Its place is kept, with the numbers that it had sent: one that hung and
// returns must not be met anew, or what it sent before would be delivered twice.
func (m *Machine[T, O, B, W]) abandon(p *peer[B]) {
	if !p.started {
		for _, seq := range p.inOrder() {
			m.unhold(p, seq)
			m.counts.Unheld++
		}
		return
	}
	m.reportLosses(p)
	if p.standing == StandingDead && m.unsure(p) {
		m.doubts = append(m.doubts, p)
	}
}

// due is when p is suspect unless it answers the last fence, or the hello that it was sent when it was met later.
func (m *Machine[T, O, B, W]) due(p *peer[B]) time.Duration {
	if !p.alive() || p.answered >= m.fence {
		return forever
	}
	return max(m.fencedAt, p.since) + m.patience(p)
}

// suspectOverdue suspects all who should have answered by now.
func (m *Machine[T, O, B, W]) suspectOverdue() {
	for _, p := range m.order {
		if m.now >= m.due(p) {
			m.suspect(p)
		}
	}
}

// reunited reports whether all nodes that are known and not given up have answered since the link came up. One that was only
// named by others may be dead; whenever it is met, our answer says where our broadcasts begin for it.
func (m *Machine[T, O, B, W]) reunited() bool {
	return !slices.ContainsFunc(m.order, func(p *peer[B]) bool {
		return p.started && p.present(m.now) && p.answered < m.openFence
	})
}

// Members returns the other nodes that are known and believed to be alive, in the order of meeting.
func (m *Machine[T, O, B, W]) Members() []string {
	return m.list(func(p *peer[B]) bool { return p.started && p.alive() })
}

// Remaining returns the nodes that were met and have neither left nor been given up, in the order of meeting. What such a node has sent may
// yet come, also where it says goodbye.
func (m *Machine[T, O, B, W]) Remaining() []string {
	return m.list(func(p *peer[B]) bool { return p.started && !p.standing.over() })
}

// Silence is how long nothing has come of a node; 0 if it was never met.
func (m *Machine[T, O, B, W]) Silence(now time.Duration, node string) time.Duration {
	if p := m.peers[node]; p != nil {
		return max(0, now-p.heardAt)
	}
	return 0
}

// Servers returns those of Members that are not clients.
func (m *Machine[T, O, B, W]) Servers() []string {
	return m.list(func(p *peer[B]) bool { return p.started && p.alive() && !p.client })
}

// Standings counts the other nodes by how they stand, without clients, and without those that are over.
func (m *Machine[T, O, B, W]) Standings() map[Standing]int {
	counts := make(map[Standing]int)
	for _, p := range m.order {
		if !p.client && p.started && !p.standing.over() {
			counts[p.standing]++
		}
	}
	return counts
}

// A Node is another node, for whoever watches the cluster.
type Node struct {
	ID      string
	Name    string // empty while it has not said it
	Suspect bool
}

// Nodes returns the other nodes that were met and have neither left nor been given up, in the order of meeting, without clients.
func (m *Machine[T, O, B, W]) Nodes() []Node {
	var nodes []Node
	for _, p := range m.order {
		if is := p.shows(); !p.client && (is == StandingAlive || is == StandingSuspect) {
			nodes = append(nodes, Node{p.id, p.name, is == StandingSuspect})
		}
	}
	return nodes
}

// Name returns the name of a node; empty if it is not known.
func (m *Machine[T, O, B, W]) Name(id string) string {
	if p := m.peers[id]; p != nil {
		return p.name
	}
	return ""
}

// Suspects returns the nodes that are silent or did not answer, and are not given up yet.
func (m *Machine[T, O, B, W]) Suspects() []string { return m.list(m.silent) }

func (m *Machine[T, O, B, W]) silent(p *peer[B]) bool {
	return p.standing == StandingSuspect && !p.expired(m.now)
}
